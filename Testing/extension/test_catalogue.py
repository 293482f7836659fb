"""The extension's entries say the same everywhere and keep the rules of Slicer's catalogue."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCHEMA_TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""Every key that the schema 1.0.2 of the catalogue's entries knows."""

LEGACY_KEYWORDS = {
    *("scm", "scmurl", "scmrevision", "depends", "recommends", "build_subdirectory", "homepage", "contributors"),
    *("category", "iconurl", "status", "tier", "description", "screenshoturls", "enabled", "dicom_support_rule"),
    "keywords",
}


def cmake_settings():
    """The EXTENSION_ variables, read as the catalogue's own check reads them: one quoted string each."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_([A-Z]+) "([^"]+)"\)$', text, re.MULTILINE))


def legacy_entry():
    entry = {}
    for line in (ROOT / "MMHVAE.s4ext").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            keyword, _, value = line.partition(" ")
            assert keyword not in entry, f"{keyword} is given twice"
            entry[keyword] = value.strip()
    return entry


def catalogue_entry():
    return json.loads((ROOT / "MMHVAE.json").read_text(encoding="utf-8"))


def test_json_entry_has_the_schemas_keys_and_types_and_no_others():
    entry = catalogue_entry()
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert set(entry) <= set(SCHEMA_TYPES)
    for key, value in entry.items():
        assert type(value) is SCHEMA_TYPES[key], key
    assert entry["scm_type"] in ("git", "local")
    assert 1 <= entry["tier"] <= 5
    assert all(isinstance(name, str) for name in entry["build_dependencies"])


def test_legacy_entry_has_its_required_keywords_and_no_unknown_ones():
    entry = legacy_entry()
    assert {"scm", "scmurl", "scmrevision"} <= {keyword for keyword, value in entry.items() if value}
    assert set(entry) <= LEGACY_KEYWORDS
    assert "?" not in entry["iconurl"] + entry["screenshoturls"], "the legacy parser takes no URL parameters"


def test_project_is_named_like_the_entries():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"project\s*\(\s*([^\s)]+)", text, re.IGNORECASE).group(1) == "MMHVAE"


@pytest.mark.parametrize(
    "keyword", ["homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"]
)
def test_legacy_entry_agrees_with_cmake(keyword):
    assert legacy_entry()[keyword] == cmake_settings()[keyword.upper()]


def test_json_entry_agrees_with_the_legacy_entry():
    entry, legacy = catalogue_entry(), legacy_entry()
    assert entry["category"] == legacy["category"]
    assert entry["scm_type"] == legacy["scm"]
    assert entry["scm_url"] == legacy["scmurl"]
    assert entry["scm_revision"] == legacy["scmrevision"]
    assert entry["build_dependencies"] == legacy["depends"].split()
    assert entry["build_subdirectory"] == legacy["build_subdirectory"]
    assert entry["enabled"] == bool(int(legacy["enabled"]))
    assert entry["tier"] == int(legacy["tier"])


def test_repository_is_the_homepage_and_named_as_the_catalogue_wants_it():
    homepage = cmake_settings()["HOMEPAGE"]
    assert catalogue_entry()["scm_url"] == homepage + ".git"
    assert re.fullmatch(r"Slicer[-_A-Z]\w*", homepage.rsplit("/", 1)[1])


def test_every_mention_of_a_repository_of_ours_is_the_homepage(tracked_texts):
    owner, name = cmake_settings()["HOMEPAGE"].split("/")[-2:]
    for path, text in tracked_texts.items():
        for mention in re.findall(r"(?:github\.com|githubusercontent\.com)/([\w.-]+/\w+)", text):
            if mention.split("/")[0].lower() == owner or mention.split("/")[1].lower() == name.lower():
                assert mention == f"{owner}/{name}", path


def test_pictures_named_by_url_are_in_the_tree():
    settings = cmake_settings()
    prefix = settings["HOMEPAGE"].replace("github.com", "raw.githubusercontent.com") + "/main/"
    for url in [settings["ICONURL"], *settings["SCREENSHOTURLS"].split()]:
        assert url.startswith(prefix), url
        assert url.endswith((".png", ".jpg", ".jpeg", ".gif")), url
        assert (ROOT / url[len(prefix) :]).is_file(), url


def test_module_is_in_the_extensions_category():
    module = ROOT / "MMHVAESynthesis" / "MMHVAESynthesis.py"
    assert cmake_settings()["CATEGORY"] in module.read_text(encoding="utf-8")
