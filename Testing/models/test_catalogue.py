import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from MMHVAESynthesisLib.__main__ import main
from MMHVAESynthesisLib.errors import ModelError, OutputError
from MMHVAESynthesisLib.models import catalogue, licences
from MMHVAESynthesisLib.models.catalogue import AVAILABLE, BUNDLED, DOWNLOADED
from MMHVAESynthesisLib.models.header import read_header


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue.MODELS_DIR_VARIABLE, str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    return tmp_path / "user"


@pytest.fixture
def resources(tmp_path):
    """Write a catalogue and return its folder."""

    def write(models=(), default=None, **changes):
        place = tmp_path / "resources"
        place.mkdir(exist_ok=True)
        content = {"version": 1, "default": default, "models": list(models), **changes}
        (place / "catalogue.json").write_text(json.dumps(content), encoding="utf-8")
        return place

    return write


def entry(name="one", **changes):
    return {"name": name, "title": name, "file": f"{name}.safetensors", **changes}


def test_the_shipped_catalogue_has_the_published_model(folder):
    (published,) = (model for model in catalogue.list_models() if model.name == "mmhvae-fold0")
    assert (published.where, published.path) == (AVAILABLE, None)
    assert published.file == "CP_main_1000.pth" and published.licence == "MIT" and published.permissive
    assert published.git_blob_id == "4271a36d9148d8bf0ee653166a2dce794110d26d"
    assert published.url.startswith("https://") and published.url.endswith(published.file)


LARGEST_BUNDLED = 8 * 2**20
CARD = {
    "its licence": r"licen[cs]e",
    "that it is for research": "research",
    "not for clinical use": r"not (for|meant for) clinical use",
    "what it was trained on and how": r"(?s)train.*(case|volume|data).*step",
    "that MR has to be skull-stripped": "skull-stripped",
    "measured figures": r"(?s)\d.*\bdb\b|\bdb\b.*\d",
    "that it is not the published model": r"not the (published|authors)",
}
"""What a bundled model's card has to say, and how to find it, in lower case."""


def faults_of_bundled(resources):
    """Return what is wrong with the models that a catalogue says come with this software, one sentence a fault."""
    faults = []
    default, entries = catalogue._catalogue(resources)
    for model in (model for model in entries if model.bundled):
        path = resources / model.file
        if not path.is_file():
            faults.append(f"{model.file} is not there")
            continue
        try:
            catalogue.verify(model, path)
            header, _ = read_header(path)
        except ModelError as error:
            faults.append(str(error))
            continue
        if path.stat().st_size > LARGEST_BUNDLED:
            faults.append(f"{model.file} is too large")
        if not (model.sha256 and model.size and model.licence and model.source):
            faults.append("sha256, size, licence or source is missing")
        if (header.licence, header.skull_stripped) != (model.licence, True):
            faults.append("the file's own header has another licence, or does not say skull-stripped")
        text = model.card.read_text(encoding="utf-8").lower() if model.card and model.card.is_file() else ""
        faults += [f"the card does not say {what}" for what, words in CARD.items() if not re.search(words, text)]
    if default is not None and not next(model for model in entries if model.name == default).bundled:
        faults.append("the default does not come with this software")
    return faults


def test_what_is_bundled_is_there_whole_small_and_described():
    assert faults_of_bundled(catalogue.RESOURCES) == []


GOOD_CARD = """# Demonstrator\nLicence: CC BY 4.0. For research, not for clinical use; not the published model.
Trained on 40 cases, 9000 steps. Takes skull-stripped MR. T2 from ceT1: 21.3 dB."""


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"sha256": "0" * 64}, "its sha256 differs"),
        ({"size": 7}, "its size differs"),
        ({"sha256": None}, "sha256, size, licence or source is missing"),
        ({"licence": "MIT"}, "another licence"),
        ({"file": "absent.safetensors"}, "is not there"),
        ({"card": None}, "does not say measured figures"),
        ({"bundled": False}, "the default does not come with this software"),
    ],
)
def test_a_fault_of_a_bundled_model_is_found(folder, resources, changes, fault, monkeypatch):
    from MMHVAESynthesisLib.models import safetensors_file
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    place = resources([])
    path = place / "demo.safetensors"
    header = ModelHeader("demo", NetworkSizes(), licence="CC BY 4.0", skull_stripped=True).to_json()
    safetensors_file.write(path, {"mmhvae": header}, {}, lambda written: None)
    (place / "demo.md").write_text(GOOD_CARD, encoding="utf-8")
    right = {"bundled": True, "sha256": catalogue.sha256(path), "size": path.stat().st_size, "licence": "CC BY 4.0",
             "source": "here", "card": "demo.md"}  # fmt: skip
    resources([entry("demo", **{**right, **changes})], default="demo")
    found = faults_of_bundled(place)
    assert bool(found) == bool(fault) and (not fault or any(fault in each for each in found)), found
    if not fault:
        monkeypatch.setattr(sys.modules[__name__], "LARGEST_BUNDLED", 10)
        assert faults_of_bundled(place) == ["demo.safetensors is too large"]
        assert catalogue.find(None, place).path == path


def test_without_a_model_the_message_says_what_to_give(folder, resources):
    with pytest.raises(ModelError, match="Give a model file by its path") as caught:
        catalogue.find(None, resources([]))
    assert str(folder) in str(caught.value)


def test_models_are_bundled_downloaded_or_available(folder, resources):
    place = resources([entry("one", bundled=True), entry("two"), entry("three")], default="one")
    (place / "one.safetensors").write_bytes(b"PK\x03\x04")
    (folder / "two.safetensors").write_bytes(b"PK\x03\x04")
    models = catalogue.list_models(place)
    assert [(m.name, m.where) for m in models] == [("one", BUNDLED), ("two", DOWNLOADED), ("three", AVAILABLE)]
    assert models[0].path == place / "one.safetensors" and models[1].path == folder / "two.safetensors"
    assert catalogue.find(None, place) == models[0]


def test_a_bundled_model_that_is_missing_asks_for_a_new_installation(folder, resources):
    (model,) = catalogue.list_models(resources([entry(bundled=True)]))
    assert model.where == AVAILABLE and "install it again" in catalogue.how_to_get(model)


def test_files_dropped_into_the_folder_are_listed_with_their_faults(folder, resources):
    for name, content in {
        "b.pth": b"PK\x03\x04", "a.safetensors": b"<html>", "c.PT": b"PK\x03\x04", "notes.txt": b"", ".x.pth": b"",
        ".a.safetensors.12.part": b"",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    (folder / "sub.pth").mkdir()
    models = catalogue.list_models(resources([]))
    assert [(m.name, m.where, m.in_catalogue) for m in models] == [
        (name, DOWNLOADED, False) for name in ("a.safetensors", "b.pth", "c.PT")
    ]
    assert "web page" in models[0].problem and models[1].problem == models[2].problem == ""
    assert catalogue.find("b.pth", resources([])).path == folder / "b.pth"


def test_a_folder_that_cannot_be_read_leaves_the_other_models(folder, resources, monkeypatch):
    from pathlib import Path

    place = resources([entry("one", bundled=True), entry("two")], default="one")
    (place / "one.safetensors").write_bytes(b"PK\x03\x04")
    is_file = Path.is_file

    def refuse(path):
        if path.parent == folder:
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    one, two = catalogue.list_models(place)
    assert one.where == BUNDLED and not one.problem and catalogue.find(None, place) == one
    assert two.path is None and "cannot be read: Permission denied. MMHVAE_MODELS_DIR names" in two.problem


def test_a_file_that_is_cut_off_is_found_where_that_is_cheap(folder, resources):
    import zipfile

    address = "https://example.org/x"
    place = resources([entry("one", url=address), entry("two", size=9), entry("three", url=address)])
    (folder / "one.safetensors").write_bytes(b"PK\x03\x04 cut off")
    (folder / "two.safetensors").write_bytes(b"PK\x03\x04")
    with zipfile.ZipFile(folder / "three.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    one, two, three = catalogue.list_models(place)
    assert "its end is missing" in one.problem and "get it again (models download one)" in one.problem
    assert "its size differs from the catalogue's" in two.problem and not three.problem


def test_a_file_that_cannot_be_read_is_said_to_be(folder, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(catalogue, "sha256", refuse)
    with pytest.raises(ModelError, match="cannot be read: Permission denied"):
        catalogue.verify(catalogue.ModelEntry("m", "m", "m", sha256="0" * 64), tmp_path / "m")


def test_a_file_given_by_its_path_shows_its_licence(folder, resources, tmp_path):
    from MMHVAESynthesisLib.models import safetensors_file
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    header = ModelHeader("Theirs", NetworkSizes(), licence="CC BY-NC 4.0").to_json()
    safetensors_file.write(tmp_path / "theirs.safetensors", {"mmhvae": header}, {}, lambda path: None)
    found = catalogue.find(str(tmp_path / "theirs.safetensors"), resources([]))
    assert found.licence == "CC BY-NC 4.0" and found.path == tmp_path / "theirs.safetensors" and not found.in_catalogue


@pytest.mark.parametrize(
    ("licence", "shown"),
    [("", ""), ("MIT", ""), ("CC BY 4.0", ""), ("Apache-2.0", ""), ("CC BY-NC 4.0", "CC BY-NC 4.0"), ("Mine", "Mine")],
)
def test_a_licence_that_a_file_states_is_shown_unless_it_is_known_to_restrict_nobody(folder, resources, licence, shown):
    from MMHVAESynthesisLib.models import licences, safetensors_file
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    header = ModelHeader("Theirs", NetworkSizes(), licence=licence, digest="0" * 64).to_json()
    safetensors_file.write(folder / "theirs.safetensors", {"mmhvae": header}, {}, lambda path: None)
    found = catalogue.find("theirs.safetensors", resources([]))
    assert licences.restriction(found) == shown and bool(licences.notice(found)) is bool(shown)
    renamed = catalogue.replace(found, name="other")
    assert licences.identity(renamed) == licences.identity(found)
    assert licences.identity(catalogue.replace(found, licence="Another")) != licences.identity(found) or not shown


def test_a_model_of_the_catalogue_without_a_licence_is_not_taken_for_permissive(folder, resources):
    from MMHVAESynthesisLib.models import licences

    (model,) = catalogue.list_models(resources([entry()]))
    assert licences.restriction(model) == licences.NOT_STATED and licences.notice(model).endswith("be reserved.")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\x89PNG\r\n", "is a PNG picture"), (b"", "is empty"), (None, "is a folder, not a model file")],
)
def test_what_is_no_model_is_shown_with_the_exit_code_of_one(folder, tmp_path, caplog, content, words):
    path = tmp_path / "mine.safetensors"
    path.mkdir() if content is None else path.write_bytes(content)
    assert main(["models", "show", str(path)]) == ModelError.exit_code
    assert words in caplog.text and str(path) in caplog.text


def test_a_dropped_file_of_ours_shows_its_own_name_and_licence(folder, resources):
    from MMHVAESynthesisLib.models import safetensors_file
    from MMHVAESynthesisLib.models.header import ModelHeader
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    header = ModelHeader("For children", NetworkSizes(), licence="CC0-1.0").to_json()
    safetensors_file.write(folder / "mine.safetensors", {"mmhvae": header}, {}, lambda path: None)
    (model,) = catalogue.list_models(resources([]))
    assert (model.name, model.title, model.licence, model.problem) == (
        "mine.safetensors",
        "For children",
        "CC0-1.0",
        "",
    )


def test_a_catalogues_name_goes_before_a_file_of_that_name(folder, resources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").write_bytes(b"")
    assert catalogue.find("one", resources([entry()])).in_catalogue
    assert not catalogue.find(str(tmp_path / "one"), resources([entry()])).in_catalogue


def test_an_unknown_name_lists_the_known_ones(folder, resources):
    with pytest.raises(ModelError, match="no model named 'x', nor a file .* Known models: one, two"):
        catalogue.find("x", resources([entry("one"), entry("two")]))


@pytest.mark.parametrize("name", ["~nobody-here/x.pth", "x" * 5000, "a\0b", ""])
def test_names_that_no_file_can_have_are_just_unknown(folder, resources, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no model named"):
        entry = catalogue.find(name, resources([]))
        catalogue.identify.identify(entry.path)


def test_no_folder_of_the_user_means_no_models_in_it(monkeypatch, resources, tmp_path):
    monkeypatch.setenv(catalogue.MODELS_DIR_VARIABLE, str(tmp_path / "absent"))
    assert catalogue.list_models(resources([])) == []
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.local/share/mmhvae/models"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/mmhvae/models"),
        ("darwin", {}, "home/Library/Application Support/MMHVAE/models"),
        ("win32", {}, "home/AppData/Local/MMHVAE/models"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/MMHVAE/models"),
        ("darwin", {"MMHVAE_MODELS_DIR": "/mine"}, "/mine"),
    ],
)
def test_the_users_folder_is_the_platforms_own(monkeypatch, platform, variables, expected):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", catalogue.MODELS_DIR_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    assert catalogue.models_dir() == (Path(expected).absolute() if "MMHVAE_MODELS_DIR" in variables else Path(expected))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"default": "absent"}, {"models": [entry(), entry()]}, {"models": [{"name": "x"}]},
        {"models": [1]},
        {"models": [entry(file="../../x.pth")]}, {"models": [entry(mood="good")]}, {"models": [entry(where="bundled")]},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_catalogue_is_said_to_be(folder, resources, changes):
    with pytest.raises(ModelError, match="catalogue .* cannot be read"):
        catalogue.list_models(resources(**changes))


def test_an_absent_or_unreadable_catalogue_is_said_to_be(folder, tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        catalogue.default_name(tmp_path)
    (tmp_path / "catalogue.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        catalogue.default_name(tmp_path)


def test_digests_are_those_of_git_and_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"test content\n")
    assert catalogue.git_blob_id(path) == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"
    assert catalogue.sha256(path) == hashlib.sha256(b"test content\n").hexdigest()


@pytest.mark.parametrize(("key", "value"), [("size", 4), ("sha256", "0" * 64), ("git_blob_id", "0" * 40)])
def test_a_file_that_is_not_the_catalogues_is_refused(tmp_path, key, value):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    right = {"size": 3, "sha256": catalogue.sha256(path), "git_blob_id": catalogue.git_blob_id(path)}
    catalogue.verify(catalogue.ModelEntry("m", "m", "file", **right), path)
    with pytest.raises(ModelError, match="differs from the catalogue's"):
        catalogue.verify(catalogue.ModelEntry("m", "m", "file", **{**right, key: value}), path)


def test_listing_models_needs_no_torch(folder):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from MMHVAESynthesisLib.models import catalogue, header, identify, layout, names, pickle_reader, released\n"
        "print(len(catalogue.list_models()))"
    )
    library = Path(catalogue.__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=library, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(len(catalogue.list_models())), done.stderr


def test_a_file_that_cannot_be_followed_hides_no_other(folder, monkeypatch):
    for name in ("a.pth", "good.pth"):
        (folder / name).write_bytes(b"PK")
    real = Path.is_file

    def is_file(path):
        if path.name == "a.pth":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert [model.name for model in catalogue.list_models() if not model.in_catalogue] == ["a.pth", "good.pth"]
    assert catalogue.find("good.pth").path == folder / "good.pth"


def test_a_file_called_as_a_bundled_model_is_a_model_of_the_users(folder, resources):
    place = resources([entry("one", bundled=True), entry("two")], "one")
    (place / "one.safetensors").write_bytes(b"theirs")
    for name in ("one.safetensors", "two.safetensors"):
        (folder / name).write_bytes(b"mine")
    found = [(model.name, model.in_catalogue) for model in catalogue.list_models(place)]
    assert found == [("one", True), ("two", True), ("one.safetensors", False)]
    assert catalogue.find("one.safetensors", place).path == folder / "one.safetensors"
    assert catalogue.find("one", place).path == place / "one.safetensors"


def test_one_model_is_found_without_reading_the_others(folder, monkeypatch):
    for number in range(5):
        (folder / f"{number}.safetensors").write_bytes(b"x")
    looked_at = []
    real = catalogue.identify.identify
    monkeypatch.setattr(catalogue.identify, "identify", lambda path: looked_at.append(path.name) or real(path))
    catalogue.find("3.safetensors")
    catalogue.find(str(folder / "4.safetensors"))
    assert looked_at == ["3.safetensors", "4.safetensors"]


def test_without_a_home_models_are_absent_and_writing_says_what_to_set(monkeypatch):
    monkeypatch.delenv(catalogue.MODELS_DIR_VARIABLE, raising=False)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(catalogue, "expanded", Path)
    assert catalogue.find(None).name == catalogue.default_name()
    with pytest.raises(OutputError, match="set MMHVAE_MODELS_DIR"):
        catalogue.folder_to_write()


def test_a_name_that_is_not_in_utf_8_has_an_identity(folder):
    strange = catalogue.replace(catalogue.find(None), name="mod\udce4l.pth", sha256=None, digest="", licence="\ud800")
    assert re.fullmatch("[0-9a-f]{16}", licences.identity(strange))
    assert licences.notice(strange).endswith("\ud800.")
