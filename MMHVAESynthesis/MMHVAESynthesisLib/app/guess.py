"""Which of the loaded volumes is which modality: a guess, and no guess where it is not clear."""

from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence, Tuple

from ..modalities import MODALITIES, label, recognise
from .i18n import _


@dataclass(frozen=True)
class Guess:
    """What was guessed.

    :param chosen: ``{modality: volume}`` where exactly one volume speaks for a modality.
    :param unclear: ``{modality: names}`` where several do.
    """

    chosen: Dict[str, object]
    unclear: Dict[str, Tuple[str, ...]]

    def sentence(self) -> str:
        """Say what was left to the user; empty where nothing was."""
        return " ".join(
            _("Several volumes look like {modality} ({names}): choose one yourself.").format(
                modality=label(modality), names=", ".join(names)
            )
            for modality, names in self.unclear.items()
        )


def guess(volumes: Sequence, wanted: Iterable[str] = MODALITIES, taken: Sequence = ()) -> Guess:
    """Guess the modalities of volumes from their names and DICOM tags.

    :param volumes: Have ``node``, ``name`` and ``dicom``, as :class:`scene.loaded.Loaded`.
    :param wanted: The modalities to look for.
    :param taken: Nodes that are chosen already and stay out of it.
    """
    found: Dict[str, List] = {}
    for volume in volumes:
        if not any(volume.node is node for node in taken):
            found.setdefault(recognise(volume.name, volume.dicom), []).append(volume)
    chosen = {m: found[m][0] for m in wanted if len(found.get(m, ())) == 1}
    unclear = {m: tuple(each.name for each in found[m]) for m in wanted if len(found.get(m, ())) > 1}
    return Guess(chosen, unclear)
