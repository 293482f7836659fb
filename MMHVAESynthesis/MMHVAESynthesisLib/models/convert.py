"""From a .pth as published to a file of this software's own, which says what the .pth does not."""

from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

from ..errors import InputError, ModelError, OutputError
from ..outputs import check_absent
from ..paths import expanded
from . import catalogue, checkpoint, identify, loading
from .header import ModelHeader

_ENDING = ".safetensors"


def convert(
    model: str,
    modalities: Optional[Sequence[str]] = None,
    spacing: Optional[float] = None,
    output: Optional[str] = None,
    overwrite: bool = False,
) -> ModelHeader:
    """Write a .pth as a .safetensors with a header, which everything takes as a model from then on.

    :param model: A file, or a name in the catalogue.
    :param modalities: The order of the modalities in which it was trained; None takes that of the file.
    :param spacing: Pixel spacing of its slices in mm; None takes that of the published ones.
    :param output: The file to write; None means one of the same name in the user's folder for models.
    :return: The header as written; its ``source`` is the file.
    :raises MMHVAEError: when the model cannot be read, or the file cannot be written.
    """
    entry = catalogue.find(model)
    if entry.path is None:
        raise ModelError(catalogue.how_to_get(entry))
    if identify.identify(entry.path) != identify.TORCH:
        raise InputError(f"'{entry.path}' has a header already: there is nothing to convert. Use it as it is.")
    target = _target(entry.path, output)
    check_absent([target], overwrite, "another file with --output")
    loaded = loading.load(model, modalities, keep=False)
    header = replace(loaded.header, name=target.stem, spacing=loaded.header.spacing if spacing is None else spacing)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder '{target.parent}' cannot be made: {error.strerror or error}. Choose another one with --output."
        ) from error
    return checkpoint.save(target, header, loaded.network)


def _target(source: Path, output: Optional[str]) -> Path:
    if output is None:
        return catalogue.folder_to_write() / f"{source.stem}{_ENDING}"
    target = expanded(output)
    if target.suffix.lower() != _ENDING:
        raise InputError(f"The model is written as {_ENDING}: give --output a name with that ending, not '{output}'.")
    return target
