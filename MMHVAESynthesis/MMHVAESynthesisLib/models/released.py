"""The authors' checkpoints: sizes inferred from the tensors' shapes, names brought into this network's."""

import math
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ..errors import ModelError
from ..network.sizes import NetworkSizes, in_published_order
from ..request import modality_of
from .header import checked_modalities
from .names import from_released

_NORMALISED = re.compile(r"(.+)\.weight_([gv])")
_PER_MODALITY = re.compile(r"(?:first_conv|conv_blocks_context|td)\.([^.]+)\.")
_DECODER = re.compile(r"final_blocks\.([^.]+)\.(.+)")


def published_names(names: Sequence[str], source: str, modalities: Optional[Sequence[str]] = None) -> Dict[str, str]:
    """Return ``{name in the file: name in the published MMHVAE}``; only the forerunner's (MHVAE, 2023) differ.

    Its ``final_blocks`` are a list in the order of the modalities, and its weight normalisation is of the old kind.

    :param modalities: The order of the list; None takes that of the file's other names, which is the one given then,
        unless they were sorted.
    :raises ModelError: when the order cannot be known.
    """
    decoders = _unique(match.group(1) for match in map(_DECODER.match, names) if match)
    listed = bool(decoders) and all(re.fullmatch("[0-9]{1,3}", key) for key in decoders)
    order = modality_order(names, source, modalities, listed)
    if listed and sorted(decoders, key=int) != [str(k) for k in range(len(order))]:
        raise ModelError(
            f"'{source}' has {len(decoders)} image decoders in a list, but {len(order)} modalities "
            f"({', '.join(order)}): which decoder makes which modality cannot be known."
        )
    return {name: _published_name(name, order if listed else ()) for name in names}


def _published_name(name: str, listed: Sequence[str]) -> str:
    normalised = _NORMALISED.fullmatch(name)
    if normalised:
        name = f"{normalised.group(1)}.parametrizations.weight.original{'gv'.index(normalised.group(2))}"
    decoder = _DECODER.fullmatch(name)
    if decoder and listed:
        name = f"final_blocks.{listed[int(decoder.group(1))]}.{decoder.group(2)}"
    return name


def _unique(values) -> Tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def modality_order(
    names: Sequence[str], source: str, given: Optional[Sequence[str]] = None, listed: bool = False
) -> Tuple[str, ...]:
    """Return the modalities of a checkpoint, as it calls them: in the given order, or that of the names in the file.

    :param given: May call them otherwise, as :func:`modality_of` knows them.
    :raises ModelError: when there are none, the given ones are others, or ``listed`` decoders need an order that the
        file does not have, or may have lost.
    """
    matches = [match for match in map(_PER_MODALITY.match, names) if match]
    orders: Dict[str, List[str]] = {}
    for match in matches:
        orders.setdefault(match.group(0).split(".")[0], []).append(match.group(1))
    first = checked_modalities(_unique(orders.get("first_conv", ())))
    if not first:
        raise ModelError(f"'{source}' is no MMHVAE checkpoint: it has no tensors named first_conv.<modality>.")
    if given is not None:
        named = {modality_of(name): name for name in first}
        order = tuple(name if name in first else named.get(modality_of(name), name) for name in given)
        if sorted(order) != sorted(first):
            raise ModelError(f"'{source}' knows the modalities {', '.join(first)}, not {', '.join(map(str, given))}.")
        return order
    usual = names_in_published_order(first)
    if listed and any(_unique(order) != first for order in orders.values()):
        raise _unknown_order(source, "in different orders", usual)
    if listed and first == tuple(sorted(first)) and first != usual:
        raise _unknown_order(source, "in alphabetical order, as if they had been sorted", usual)
    return first


def _unknown_order(source: str, how: str, usual: Sequence[str]) -> ModelError:
    return ModelError(
        f"'{source}' is a MHVAE checkpoint of 2023 that names its modalities {how}, so which image decoder makes which "
        "cannot be known. Say the order in which it was trained, and use the file that this writes: "
        f'models convert "{source}" --modalities {",".join(usual)}'
    )


def names_in_published_order(names: Sequence[str]) -> Tuple[str, ...]:
    """Return modalities, as a file calls them, in the order of the published network: converters may sort names.

    >>> names_in_published_order(["FLAIR", "T2", "US"])
    ('US', 'T2', 'FLAIR')
    """
    keys = in_published_order(map(modality_of, names))
    return tuple(sorted(names, key=lambda name: keys.index(modality_of(name))))


def infer_sizes(shapes: Mapping[str, Tuple[int, ...]], modalities: Sequence[str], source: str) -> NetworkSizes:
    """Infer a network's sizes from its tensors.

    :param shapes: ``{published name: shape}``.
    :raises ModelError: when a tensor that tells a size is missing, or no square slice fits.
    """
    try:
        decoder = f"final_blocks.{modalities[0]}."
        base = shapes[f"first_conv.{modalities[0]}.weight"][0]
        cap = shapes["bottleneck_down.linear.bias"][0] // 4
        inputs = shapes["bottleneck_down.linear.parametrizations.weight.original1"][1]
        width = shapes[decoder + "convt2.weight"][0]
    except (KeyError, IndexError) as error:
        raise ModelError(
            f"'{source}' is no complete MMHVAE checkpoint: {error} is missing or has the wrong shape."
        ) from error
    halvings = _count(shapes, r"tu\.(\d+)\.conv_1\.weight")
    blocks = _count(shapes, re.escape(decoder) + r"res\.(\d+)\.conv_block\.1\.weight")
    if not 0 < halvings <= 13 or not base or not cap:
        raise ModelError(f"'{source}' is no MMHVAE checkpoint: its tensors give impossible sizes.")
    channels = min(base * 2**halvings, cap)
    edge = math.isqrt(inputs // channels)
    if edge * edge * channels != inputs:
        raise ModelError(f"'{source}' was trained on slices that are not square, which is not supported.")
    return NetworkSizes(tuple(modalities), base, cap, halvings, edge * 2**halvings, blocks, width)


def _count(shapes: Mapping[str, Tuple[int, ...]], pattern: str) -> int:
    return sum(1 for name in shapes if re.fullmatch(pattern, name))


def network_names(published: Sequence[str], modality: str) -> Tuple[Dict[str, str], List[str]]:
    """Return ``{published name: this network's}`` and the names that no MMHVAE has.

    :param modality: One of the network's; its decoder shows whether the decoders begin with a 1x1 convolution.
    """
    adapted = f"final_blocks.{modality}.res.0.weight" in published
    own: Dict[str, str] = {}
    foreign: List[str] = []
    for name in published:
        try:
            own[name] = from_released(name, adapted)
        except KeyError:
            foreign.append(name)
    return own, foreign
