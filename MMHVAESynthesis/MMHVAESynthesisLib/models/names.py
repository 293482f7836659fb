"""The names of the released tensors and those of this network, one for one."""

import re
from typing import List, Tuple

# (pattern of the released name, its replacement); tried in this order, the first that matches the whole name holds.
_PARTS: List[Tuple[str, str]] = [
    (r"first_conv\.([^.]+)\.(.+)", r"encoders.\1.stem.\2"),
    (r"conv_blocks_context\.([^.]+)\.(\d+)\.(conv_[01])\.(.+)", r"encoders.\1.cells.\2.\3.\4"),
    (r"conv_blocks_context\.([^.]+)\.(\d+)\.se\.se\.0\.(.+)", r"encoders.\1.cells.\2.gate.squeeze.\3"),
    (r"conv_blocks_context\.([^.]+)\.(\d+)\.se\.se\.2\.(.+)", r"encoders.\1.cells.\2.gate.excite.\3"),
    (r"td\.([^.]+)\.(\d+)\.(.+)", r"encoders.\1.downs.\2.\3"),
    (r"bottleneck_down\.linear\.(.+)", r"coarsest.down.\1"),
    (r"bottleneck_up\.linear\.(.+)", r"coarsest.up.\1"),
    (r"tu\.(\d+)\.conv_1\.(.+)", r"levels.\1.up.\2"),
    (r"conv_blocks_localization\.(\d+)\.conv_0\.(.+)", r"levels.\1.cell.widen.\2"),
    (r"conv_blocks_localization\.(\d+)\.dw_conv_1\.(.+)", r"levels.\1.cell.depthwise.\2"),
    (r"conv_blocks_localization\.(\d+)\.se_2\.se\.0\.(.+)", r"levels.\1.cell.gate.squeeze.\2"),
    (r"conv_blocks_localization\.(\d+)\.se_2\.se\.2\.(.+)", r"levels.\1.cell.gate.excite.\2"),
    (r"conv_blocks_localization\.(\d+)\.conv_2\.(.+)", r"levels.\1.cell.narrow.\2"),
    (r"pz\.(\d+)\.(.+)", r"levels.\1.prior.\2"),
    (r"qz\.(\d+)\.(conv_[01])\.(.+)", r"levels.\1.expert.\2.\3"),
    (r"qz\.(\d+)\.se\.se\.0\.(.+)", r"levels.\1.expert.gate.squeeze.\2"),
    (r"qz\.(\d+)\.se\.se\.2\.(.+)", r"levels.\1.expert.gate.excite.\2"),
    (r"qz\.(\d+)\.last_conv\.(.+)", r"levels.\1.expert.project.\2"),
    (r"final_blocks\.([^.]+)\.res\.0\.(weight|bias)", r"decoders.\1.adapt.\2"),
    (r"final_blocks\.([^.]+)\.convt2\.(.+)", r"decoders.\1.conv.\2"),
    (r"final_blocks\.([^.]+)\.convt3\.(.+)", r"decoders.\1.image.\2"),
]
_BLOCK = re.compile(r"final_blocks\.([^.]+)\.res\.(\d+)\.conv_block\.([15])\.(.+)")


def from_released(name: str, adapted: bool) -> str:
    """Return this network's name of a released tensor.

    :param adapted: Whether the image decoders begin with a 1x1 convolution, so that their blocks count from 1.
    :raises KeyError: when no released tensor has this name.
    """
    block = _BLOCK.fullmatch(name)
    if block:
        modality, index, layer, rest = block.groups()
        return f"decoders.{modality}.blocks.{int(index) - adapted}.conv_{0 if layer == '1' else 1}.{rest}"
    for pattern, replacement in _PARTS:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    raise KeyError(name)
