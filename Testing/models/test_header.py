import dataclasses
import json

import pytest

from MMHVAESynthesisLib.errors import ModelError
from MMHVAESynthesisLib.models.header import FORMAT, ModelHeader
from MMHVAESynthesisLib.network.sizes import NetworkSizes

HEADER = ModelHeader(
    name="demonstrator",
    sizes=NetworkSizes(("t2", "us"), 12, 64, 5, 96, 3, 4, "variance", "average", 3),
    spacing=1.0,
    skull_stripped=True,
    training={"data": "made up", "epochs": 3, "nested": {"a": [1.5, None]}},
    licence="CC-BY-4.0",
    digest="0f" * 32,
    source="somewhere.safetensors",
)


def changed(**changes):
    content = json.loads(HEADER.to_json())
    for key, value in changes.items():
        place = content["sizes"] if key in content["sizes"] else content
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return json.dumps(content)


def read(text):
    return ModelHeader.from_json(text, "there.safetensors")


def test_a_header_comes_back_but_for_its_place():
    assert read(HEADER.to_json()) == dataclasses.replace(HEADER, source="there.safetensors")
    assert "somewhere" not in HEADER.to_json()


def test_the_header_says_which_intensities_it_means():
    assert "99.95" in json.loads(HEADER.to_json())["intensities"]
    with pytest.raises(ModelError, match="other input intensities"):
        read(changed(intensities="z-score"))


def test_sizes_left_out_have_their_defaults():
    assert read(changed(fusion=..., latent_levels=...)).sizes.fusion == "product"


def test_a_newer_header_asks_for_an_update():
    with pytest.raises(ModelError, match="newer version of this software .* update the extension"):
        read(changed(format=FORMAT + 1))
    with pytest.raises(ModelError, match="unknown to this version"):
        read(json.dumps({**json.loads(HEADER.to_json()), "sizes": {"attention": True}}))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "1"}, {"format": True}, {"format": 0}, {"format": ...}, {"name": ""}, {"name": 3}, {"name": ...},
        {"spacing": 0}, {"spacing": -1}, {"spacing": "0.5"}, {"spacing": True}, {"spacing": float("nan")},
        {"spacing": float("inf")}, {"spacing": 10**400}, {"skull_stripped": "yes"}, {"skull_stripped": 1},
        {"training": None},
        {"licence": None}, {"digest": "short"}, {"digest": "G" * 64}, {"sizes": []}, {"sizes": ...},
        {"modalities": []}, {"modalities": "us"}, {"modalities": ["us", "us"]}, {"modalities": [1]},
        {"modalities": ["a.b"]}, {"modalities": [""]}, {"modalities": [f"m{i}" for i in range(17)]},
        {"base_features": 3}, {"base_features": 66}, {"base_features": 0}, {"base_features": True},
        {"base_features": 16.0},
        {"max_features": 10**9}, {"halvings": 10**9}, {"halvings": 14}, {"halvings": -1}, {"size": 97},
        {"size": 10**12},
        {"decoder_blocks": -1}, {"decoder_blocks": 10**9}, {"precision": "both"}, {"precision": None}, {"fusion": ""},
        {"latent_levels": 7}, {"reconstruction": "all"}, {"reconstruction": None},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_values_are_refused(changes):
    with pytest.raises(ModelError):
        read(changed(**changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", "[" * 100_000, '{"format": 1e999}'])
def test_what_is_no_header_is_damage(text):
    with pytest.raises(ModelError, match="damaged"):
        read(text)


def test_numbers_that_json_lacks_are_no_header():
    text = HEADER.to_json().replace('"training": {', '"training": {"loss": NaN, ', 1)
    assert "NaN" in text
    with pytest.raises(ModelError, match="header of 'there.safetensors' is damaged"):
        read(text)
