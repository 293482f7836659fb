import json
import pickle
import re
import threading
import zipfile
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"

_RELEASED = [
    (r"encoders\.(\w+)\.stem\.(.+)", r"first_conv.\1.\2"),
    (r"encoders\.(\w+)\.cells\.(\d+)\.(conv_.+)", r"conv_blocks_context.\1.\2.\3"),
    (r"encoders\.(\w+)\.cells\.(\d+)\.gate\.(.+)", r"conv_blocks_context.\1.\2.se.se.\3"),
    (r"encoders\.(\w+)\.downs\.(\d+)\.(.+)", r"td.\1.\2.\3"),
    (r"coarsest\.(down|up)\.(.+)", r"bottleneck_\1.linear.\2"),
    (r"levels\.(\d+)\.up\.(.+)", r"tu.\1.conv_1.\2"),
    (r"levels\.(\d+)\.cell\.widen\.(.+)", r"conv_blocks_localization.\1.conv_0.\2"),
    (r"levels\.(\d+)\.cell\.depthwise\.(.+)", r"conv_blocks_localization.\1.dw_conv_1.\2"),
    (r"levels\.(\d+)\.cell\.narrow\.(.+)", r"conv_blocks_localization.\1.conv_2.\2"),
    (r"levels\.(\d+)\.cell\.gate\.(.+)", r"conv_blocks_localization.\1.se_2.se.\2"),
    (r"levels\.(\d+)\.prior\.(.+)", r"pz.\1.\2"),
    (r"levels\.(\d+)\.expert\.gate\.(.+)", r"qz.\1.se.se.\2"),
    (r"levels\.(\d+)\.expert\.project\.(.+)", r"qz.\1.last_conv.\2"),
    (r"levels\.(\d+)\.expert\.(conv_.+)", r"qz.\1.\2"),
    (r"decoders\.(\w+)\.adapt\.(.+)", r"final_blocks.\1.res.0.\2"),
    (r"decoders\.(\w+)\.conv\.(.+)", r"final_blocks.\1.convt2.\2"),
    (r"decoders\.(\w+)\.image\.(.+)", r"final_blocks.\1.convt3.\2"),
]


def released_name(name, adapted):
    block = re.fullmatch(r"decoders\.(\w+)\.blocks\.(\d+)\.conv_([01])\.(.+)", name)
    if block:
        modality, index, layer, rest = block.groups()
        return f"final_blocks.{modality}.res.{int(index) + adapted}.conv_block.{1 + 4 * int(layer)}.{rest}"
    for pattern, replacement in _RELEASED:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name).replace("squeeze", "0").replace("excite", "2")
    raise AssertionError(name)


@pytest.fixture(scope="session")
def layouts():
    return json.loads((DATA / "layouts.json").read_text(encoding="utf-8"))


@pytest.fixture
def make_network():
    torch = pytest.importorskip("torch")
    from MMHVAESynthesisLib.network.model import MMHVAE

    def make(sizes, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return MMHVAE(sizes).eval().requires_grad_(False)

    return make


@pytest.fixture
def tiny_sizes():
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    return NetworkSizes(("us", "t2"), 4, 8, 2, 16, decoder_blocks=2, decoder_features=2)


@pytest.fixture
def tiny(make_network, tiny_sizes):
    return make_network(tiny_sizes)


@pytest.fixture
def released_state():
    """A network's state dict under the released names, in the order in which such files have them."""

    def convert(network):
        sizes = network.sizes
        adapted = sizes.decoder_features != sizes.base_features // 2
        return {released_name(name, adapted): tensor for name, tensor in network.state_dict().items()}

    return convert


@pytest.fixture
def forerunner_state(released_state):
    """The same as the checkpoint of 2023 has it."""

    def convert(network):
        order = list(network.sizes.modalities)
        state = {}
        for name, tensor in released_state(network).items():
            name = re.sub(r"^final_blocks\.(\w+)\.", lambda m: f"final_blocks.{order.index(m.group(1))}.", name)
            name = name.replace("parametrizations.weight.original0", "weight_g")
            state[name.replace("parametrizations.weight.original1", "weight_v")] = tensor
        return state

    return convert


@pytest.fixture
def archive(tmp_path):
    """Write a zip as torch does, from the bytes of its pickle and its storages."""

    def write(data, storages=None, name="hand.pth", compression=zipfile.ZIP_STORED, extra=()):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("archive/data.pkl", data if isinstance(data, bytes) else pickle.dumps(data))
            for key, content in (storages or {}).items():
                file.writestr(f"archive/data/{key}", content)
            for member, content in extra:
                file.writestr(member, content)
        return path

    return write


@pytest.fixture
def no_proxy(monkeypatch):
    """No proxy stands between the tests and their server."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def folder(tmp_path, monkeypatch, no_proxy):
    """The user's folder for models, not made yet."""
    from MMHVAESynthesisLib.models import catalogue

    monkeypatch.setenv(catalogue.MODELS_DIR_VARIABLE, str(tmp_path / "häßlich" / "models"))
    return tmp_path / "häßlich" / "models"


@pytest.fixture
def server():
    """A server that answers as the test says."""
    from .server import Server

    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
        yield made
        made.released.set()
        made.shutdown()
