"""Names and shapes of a network's tensors, from its sizes alone: a checkpoint is compared with them before all else.

So a file's claims cannot cost more memory than its own tensors, and the comparison needs no torch.
"""

from typing import Dict, Iterable, List, Mapping, Tuple

from ..errors import ModelError
from ..network.sizes import NetworkSizes

Shapes = Dict[str, Tuple[int, ...]]


def expected_shapes(sizes: NetworkSizes) -> Shapes:
    """Return ``{name: shape}`` of ``MMHVAE(sizes).state_dict()``."""
    shapes: Shapes = {}
    for modality in sizes.modalities:
        _encoder(shapes, f"encoders.{modality}", sizes)
        _image_decoder(shapes, f"decoders.{modality}", sizes)
    sources = len(sizes.modalities) if sizes.fusion == "zero_fill" else 1
    area, top = sizes.coarsest_size**2, sizes.max_features
    shapes["coarsest.down.bias"] = (4 * top,)
    _normalised(shapes, "coarsest.down", (4 * top, sources * sizes.width(sizes.halvings) * area))
    shapes["coarsest.up.bias"] = (top * area,)
    _normalised(shapes, "coarsest.up", (top * area, 2 * top))
    for step in range(sizes.halvings):
        _level(shapes, f"levels.{step}", sizes, step, sources)
    return shapes


def _with_bias(shapes: Shapes, name: str, weight: Tuple[int, ...]) -> None:
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = weight, weight[:1]


def _normalised(shapes: Shapes, name: str, weight: Tuple[int, ...]) -> None:
    """Weight normalisation over dim 0: magnitudes, and directions in the weight's shape."""
    shapes[f"{name}.parametrizations.weight.original0"] = (weight[0], *(1 for _ in weight[1:]))
    shapes[f"{name}.parametrizations.weight.original1"] = weight


def _gate(shapes: Shapes, name: str, channels: int) -> None:
    hidden = max(channels // 16, 4)
    _with_bias(shapes, f"{name}.gate.squeeze", (hidden, channels))
    _with_bias(shapes, f"{name}.gate.excite", (channels, hidden))


def _encoder(shapes: Shapes, name: str, sizes: NetworkSizes) -> None:
    _with_bias(shapes, f"{name}.stem", (sizes.base_features, 1, 3, 3))
    for halvings in range(sizes.halvings + 1):
        width = sizes.width(halvings)
        for conv in ("conv_0", "conv_1"):
            _with_bias(shapes, f"{name}.cells.{halvings}.{conv}", (width, width, 3, 3))
        _gate(shapes, f"{name}.cells.{halvings}", width)
        if halvings < sizes.halvings:
            _with_bias(shapes, f"{name}.downs.{halvings}", (sizes.width(halvings + 1), width, 3, 3))


def _level(shapes: Shapes, name: str, sizes: NetworkSizes, step: int, sources: int) -> None:
    halvings = sizes.halvings - 1 - step
    width = sizes.width(halvings)
    wide = 6 * width
    shapes[f"{name}.up.weight"] = (width, sizes.max_features if step == 0 else sizes.width(halvings + 1) // 2, 3, 3)
    _with_bias(shapes, f"{name}.cell.widen", (wide, width, 3, 3))
    _with_bias(shapes, f"{name}.cell.depthwise", (wide, 1, 5, 5))
    _gate(shapes, f"{name}.cell", wide)
    _with_bias(shapes, f"{name}.cell.narrow", (width, wide, 1, 1))
    _normalised(shapes, f"{name}.prior", (width, width, 1, 1))
    if step + 1 < sizes.latents:
        _with_bias(shapes, f"{name}.expert.conv_0", (width, (1 + sources) * width, 3, 3))
        _with_bias(shapes, f"{name}.expert.conv_1", (width, width, 3, 3))
        _gate(shapes, f"{name}.expert", width)
        _normalised(shapes, f"{name}.expert.project", (width, width, 1, 1))


def _image_decoder(shapes: Shapes, name: str, sizes: NetworkSizes) -> None:
    width = sizes.decoder_features
    if width != sizes.base_features // 2:
        _with_bias(shapes, f"{name}.adapt", (width, sizes.base_features // 2, 1, 1))
    for block in range(sizes.decoder_blocks):
        for conv in ("conv_0", "conv_1"):
            _with_bias(shapes, f"{name}.blocks.{block}.{conv}", (width, width, 3, 3))
    _with_bias(shapes, f"{name}.conv", (width, width, 7, 7))
    _with_bias(shapes, f"{name}.image", (1, width, 7, 7))


def check_shapes(
    found: Mapping[str, Tuple[int, ...]], sizes: NetworkSizes, source: str, foreign: Iterable[str] = ()
) -> None:
    """Compare a file's tensors with what a network of these sizes has: all, no others, in the right shapes.

    :param found: ``{this network's name: shape}``.
    :param foreign: Names in the file that no MMHVAE has.
    :raises ModelError: listing what is missing, unexpected or misshapen.
    """
    expected = expected_shapes(sizes)
    missing = sorted(set(expected) - set(found))
    unexpected = sorted([*foreign, *(set(found) - set(expected))])
    misshapen = [
        f"{name} {tuple(found[name])} instead of {shape}"
        for name, shape in sorted(expected.items())
        if name in found and tuple(found[name]) != shape
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
    parts = [f"{len(names)} {word} ({_few(names)})" for word, names in faults if names]
    if parts:
        raise ModelError(
            f"The tensors in '{source}' do not make a MMHVAE network: {'; '.join(parts)}, of {len(expected)}. "
            "It holds another network's weights, or not all of them."
        )


def _few(names: List[str], count: int = 3) -> str:
    return ", ".join(name[:100] for name in names[:count]) + (", ..." if len(names) > count else "")
