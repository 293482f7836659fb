import numpy as np
import pytest

from MMHVAESynthesisLib.batch.settings import Settings
from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.request import RegistrationRequest, SynthesisRequest, check_words, modality_of

IMAGE, OTHER = object(), object()


def test_values_are_brought_into_their_types():
    request = SynthesisRequest(
        {"us": IMAGE, "t2": None}, ["t2", "t2"], temperature=np.float32(0.5), samples=np.int64(3)
    )
    assert request.inputs == {"us": IMAGE} and request.targets == ("t2",)
    assert request.temperature == 0.5 and type(request.samples) is int and request.device == "auto"


@pytest.mark.parametrize(
    ("name", "key"),
    [("T2", "t2"), ("iUS", "us"), ("US", "us"), ("ceT1", "cet1"), ("FLAIR", "flair"), (" Flair ", "flair"),
     ("t1ce", "cet1"), ("T1c", "cet1"), ("T1Gd", "cet1"), ("t1", "t1"), ("PET", "PET")],
)  # fmt: skip
def test_modalities_are_known_by_all_their_names(name, key):
    assert modality_of(name) == key
    request = SynthesisRequest({name: IMAGE}, [name, key], names={name: "Mine"})
    assert request.inputs == {key: IMAGE} and request.targets == (key,) and request.names == {key: "Mine"}
    registration = RegistrationRequest({name: IMAGE}, {name: OTHER}, names={name: "Mine"})
    assert registration.pairs == (key,) and registration.names == {key: "Mine"}


def test_a_word_that_a_call_does_not_know_is_refused_with_the_one_that_is_meant():
    check_words("synthesize", ["seed"], ["seed", "temperature"])
    with pytest.raises(TypeError, match="synthesize has no setting 'temprature'. Did you mean 'temperature'. It takes"):
        check_words("synthesize", ["temprature"], ["seed", "temperature"])


@pytest.mark.parametrize(
    ("inputs", "changes", "message"),
    [
        ({}, {}, "no input"),
        ({"us": None}, {}, "no input"),
        ({"us": IMAGE, "t2": IMAGE}, {}, "given as iUS and as T2"),
        ({"us": "a.nrrd", "t2": "./a.nrrd"}, {}, "given as iUS and as T2"),
        (IMAGE, {}, "The inputs must say which volume is what, such as .*, not object"),
        ({"T2": IMAGE, "t2": OTHER}, {}, "name T2 twice"),
        ({"us": IMAGE}, {"targets": 2}, "list of modalities"),
        ({"us": IMAGE}, {"targets": []}, "No output"),
        ({"us": IMAGE}, {"targets": "t2"}, "list of modalities"),
        ({"us": IMAGE}, {"temperature": 1.2}, "between 0 and 1"),
        ({"us": IMAGE}, {"temperature": float("nan")}, "between 0 and 1"),
        ({"us": IMAGE}, {"temperature": "hot"}, "between 0 and 1"),
        ({"us": IMAGE}, {"samples": 0}, "samples"),
        ({"us": IMAGE}, {"samples": 1.5}, "samples"),
        ({"us": IMAGE}, {"seed": -1}, "seed"),
        ({"us": IMAGE}, {"device": "gpu"}, "Unknown device"),
        ({"us": IMAGE}, {"device": "cpu:x"}, "Unknown device"),
        ({"us": IMAGE}, {"noise": "pink"}, "noise"),
        ({"us": IMAGE}, {"half_precision": "no"}, "Half precision must be True or False, not 'no'"),
        ({"us": IMAGE}, {"workers": 0}, "workers"),
        ({"us": IMAGE}, {"directions": 2}, "1 or 3"),
        ({"us": IMAGE}, {"directions": "all"}, "1 or 3"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(inputs, changes, message):
    with pytest.raises(InputError, match=message):
        SynthesisRequest(inputs, **changes)


def test_an_engine_that_is_none_is_refused_at_once():
    with pytest.raises(InputError, match="Unknown engine 'elastix' for the registration: choose auto, lncc"):
        RegistrationRequest({"t2": IMAGE}, {"t2": OTHER}, engine="elastix")
    with pytest.raises(InputError, match="Unknown engine 'elastix'"):
        Settings(register=True, engine="elastix")


def test_one_file_by_two_names_is_one_volume(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file, link = tmp_path / "a.nrrd", tmp_path / "link.nrrd"
    file.touch()
    others = ["~/a.nrrd"]
    try:
        link.symlink_to(file)
        others.append(link)
    except OSError:
        pass  # no links here
    for other in others:
        with pytest.raises(InputError, match="given as iUS and as T2"):
            SynthesisRequest({"us": str(file), "t2": other})
        with pytest.raises(InputError, match="as synthetic T2 and as pre-operative T2"):
            RegistrationRequest({"t2": file}, {"t2": other})


@pytest.mark.parametrize("us", ["synthetic.nrrd", IMAGE])
def test_the_ultrasound_is_no_synthetic_mr_and_no_preoperative_one(us):
    with pytest.raises(InputError, match="given as ultrasound and as synthetic T2: give the MR that was synthesised"):
        RegistrationRequest({"t2": us}, {"t2": OTHER}, us)
    with pytest.raises(InputError, match="given as ultrasound and as pre-operative T2: give the MR that was acquired"):
        RegistrationRequest({"t2": OTHER}, {"t2": us}, us)
    own = RegistrationRequest({"t2": OTHER, "us": us}, {"t2": "t2.nrrd"}, us)
    assert own.us is us and own.pairs == ("t2",), "the synthetic iUS will do as a field of view"
    assert own.to_complete == (), "and is no acquired ultrasound"
