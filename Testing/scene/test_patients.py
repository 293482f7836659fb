"""Volumes of several patients in one scene: used together they are told, once in a run."""

import json

import numpy as np
import pytest

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


@pytest.fixture
def belong(slicer, scene):
    """Put volumes under a patient of the subject hierarchy."""

    def put(patient, *nodes, number=""):
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
        if number:
            hierarchy.SetItemAttribute(item, "DICOM.PatientID", number)
        study = hierarchy.CreateStudyItem(item, "Study")
        for node in nodes:
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)

    return put


@pytest.fixture
def loaded(scene):
    from MMHVAESynthesisLib.scene import loaded

    return loaded


def warned(of):
    return [each for each in of if "belong to different patients" in each]


def test_whose_a_volume_is(loaded, scenes, belong):
    us, t2, flair = (scenes.volume(name) for name in ("US", "T2", "FLAIR"))
    belong("Smith", us, number="4711")
    belong("Jones", t2)
    assert [loaded.patient_of(node) for node in (us, t2, flair)] == ["4711", "Jones", ""]
    assert [each.patient for each in loaded.loaded_volumes()] == ["4711", "Jones", ""]


def test_only_patients_that_are_known_to_differ_are_told(loaded, scenes, belong):
    us, t2, flair = scenes.volume("US"), scenes.volume("AX"), scenes.volume("AX")
    belong("Smith", us)
    assert loaded.of_several_patients([us, t2]) == [] == loaded.of_several_patients([])
    belong("Jones", t2)
    belong("Smith", flair)
    assert loaded.of_several_patients([us, flair]) == []
    (told,) = loaded.of_several_patients([t2, flair, us])
    assert told == (
        "These volumes belong to different patients: 'AX' (Jones), 'AX' (Smith), 'US' (Smith). Is that meant?"
    )


def test_a_synthesis_from_two_patients_says_so_once(slicer, provenance, scenes, belong):
    from MMHVAESynthesisLib.scene.work import prepare

    inputs = {"us": scenes.volume("US"), "flair": scenes.volume("FLAIR")}
    work = prepare(inputs, ["t2"])
    assert not warned(work.input_warnings())
    belong("Smith", inputs["us"])
    belong("Jones", inputs["flair"])
    assert len(warned(work.input_warnings())) == 1
    made = work.add(scenes.result(inputs, targets=("t2",)))
    assert len(warned(json.loads(provenance.noted(made["t2"])["warnings"]))) == 1
    slicer.mrmlScene.RemoveNode(inputs["flair"])
    assert not warned(work.input_warnings())


def test_a_registration_of_another_patients_mr_says_so_once(outputs, registration, plan, scenes, made, belong, caplog):
    us, t2 = scenes.volume("US"), scenes.volume("T2", seed=1)
    belong("Smith", us)
    synthetic = outputs.add(scenes.result({"us": us}, targets=("t2",)), {"us": us})["t2"]
    assert plan({"t2": synthetic}, {"t2": t2}, us).warnings == []
    belong("Jones", t2)
    transform = registration.add(made.result(np.eye(4)), plan({"t2": synthetic}, {"t2": t2}, us))
    (told,) = json.loads(transform.GetAttribute("MMHVAE.warnings"))
    assert "'US synthetic T2 (MMHVAE)' (Smith), 'T2' (Jones), 'US' (Smith)" in told
    assert len(warned(caplog.messages)) == 1
