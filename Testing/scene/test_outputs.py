import json

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError


def test_outputs_lie_voxel_for_voxel_on_the_reference(slicer, outputs, scenes):
    reference = scenes.volume(matrix=scenes.oblique(left_handed=True))
    transform = scenes.parent(reference, scenes.rotation(20))
    result = scenes.result({"us": reference}, samples=3)
    nodes = outputs.add(result, {"us": reference})
    assert set(nodes) == {"t2", "cet1"}
    for modality, node in nodes.items():
        assert np.abs(scenes.matrix_of(node) - scenes.matrix_of(reference)).max() == 0
        assert node.GetTransformNodeID() == transform.GetID()
        array = slicer.util.arrayFromVolume(node)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, sitk.GetArrayViewFromImage(result.images[modality]))
        bounds, expected = [0.0] * 6, [0.0] * 6
        node.GetRASBounds(bounds)
        reference.GetRASBounds(expected)
        assert bounds == expected


def test_names_say_input_contrast_and_that_it_is_synthetic(slicer, outputs, provenance, scenes):
    from MMHVAESynthesisLib.modalities import recognise

    reference = scenes.volume("Case27-US-before")
    nodes = outputs.add(scenes.result({"us": reference}, samples=2), {"us": reference})
    assert nodes["t2"].GetName() == "Case27-US-before synthetic T2 (MMHVAE)"
    uncertainty = provenance.uncertainty_node(nodes["t2"])
    assert uncertainty.GetName() == "Case27-US-before synthetic T2 uncertainty (MMHVAE)"
    assert recognise(nodes["t2"].GetName()) is recognise(uncertainty.GetName()) is None


def test_one_run_is_one_folder_beside_the_input(slicer, outputs, provenance, scenes):
    reference = scenes.volume("US")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Surgery")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(reference), study)
    nodes = outputs.add(scenes.result({"us": reference}, samples=2), {"us": reference})
    folders = {scenes.folder_of(node) for node in nodes.values()}
    folders |= {scenes.folder_of(provenance.uncertainty_node(node)) for node in nodes.values()}
    (folder,) = folders
    assert hierarchy.GetItemName(folder) == "US: MMHVAE synthesis"
    assert hierarchy.GetItemParent(folder) == study
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(reference)) == study


def test_two_runs_do_not_collide(slicer, outputs, provenance, scenes):
    reference = scenes.volume("US")
    first = outputs.add(scenes.result({"us": reference}, seed=1), {"us": reference})
    before = scenes.picture()
    second = outputs.add(scenes.result({"us": reference}, targets=("t2", "flair"), seed=2), {"us": reference})
    after = scenes.picture()
    assert {key: after["nodes"][key] for key in before["nodes"]} == before["nodes"]
    assert [node.GetName() for node in second.values()] == [
        "US synthetic T2 (MMHVAE) 2",
        "US synthetic FLAIR (MMHVAE) 2",
    ]
    assert scenes.folder_of(first["t2"]) != scenes.folder_of(second["t2"])
    assert provenance.noted(first["t2"])["run"] == provenance.noted(first["cet1"])["run"]
    assert provenance.noted(first["t2"])["run"] != provenance.noted(second["t2"])["run"]


def test_every_volume_says_how_it_was_made(slicer, outputs, provenance, scenes):
    inputs = {"us": scenes.volume("US; 'first': \"ü\""), "flair": scenes.volume("FLAIR")}
    nodes = outputs.add(scenes.result(inputs, samples=2, seed=5), inputs)
    for node, role in ((nodes["cet1"], "image"), (provenance.uncertainty_node(nodes["cet1"]), "uncertainty")):
        assert node.GetAttribute("MMHVAE.synthetic") == "1"
        noted = provenance.noted(node)
        assert noted["modality"] == "cet1" and noted["role"] == role
        assert noted["model"] == "demo; a:b" and noted["modelDigest"] == "ab" * 32
        assert noted["temperature"] == "0.7" and noted["seed"] == "5" and noted["samples"] == "2"
        assert noted["version"] == "0.1.0"
        assert json.loads(noted["inputs"]) == {"us": "US; 'first': \"ü\"", "flair": "FLAIR"}
        assert node.GetNodeReference("MMHVAE.input.us") is inputs["us"]
        assert node.GetNodeReference("MMHVAE.input.flair") is inputs["flair"]
        assert provenance.is_synthetic(node)
    assert not provenance.is_synthetic(inputs["us"]) and provenance.noted(inputs["us"]) == {}


def test_window_and_colours_are_the_same_for_all_outputs(slicer, outputs, provenance, scenes):
    reference = scenes.volume()
    result = scenes.result({"us": reference}, targets=("t2", "cet1", "flair"), samples=2)
    dim = sitk.GetImageFromArray(sitk.GetArrayFromImage(result.images["t2"]) / 4)
    outlier = sitk.GetArrayFromImage(result.images["flair"])
    outlier.flat[3] = 1e6
    result.images.update(t2=dim, flair=sitk.GetImageFromArray(outlier))
    nodes = outputs.add(result, {"us": reference})
    windows = {
        (node.GetDisplayNode().GetWindowLevelMin(), node.GetDisplayNode().GetWindowLevelMax())
        for node in nodes.values()
    }
    ((low, high),) = windows
    assert low == 0 and 240 < high < 260
    for node in nodes.values():
        assert node.GetDisplayNode().GetAutoWindowLevel() == 0
        assert node.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeGrey"
        uncertainty = provenance.uncertainty_node(node).GetDisplayNode()
        assert uncertainty.GetColorNode() is not None
        assert uncertainty.GetColorNodeID() != "vtkMRMLColorTableNodeGrey"
        assert uncertainty.GetWindowLevelMin() == 0 and 15 < uncertainty.GetWindowLevelMax() < 20


def test_an_empty_result_still_has_a_window(outputs, scenes):
    reference = scenes.volume()
    result = scenes.result({"us": reference}, targets=("t2",))
    result.images["t2"] = sitk.Image(7, 6, 5, sitk.sitkFloat32)
    node = outputs.add(result, {"us": reference})["t2"]
    assert node.GetDisplayNode().GetWindow() == 1


@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
def test_a_saved_scene_comes_back_with_everything(slicer, outputs, provenance, scenes, tmp_path, ending):
    reference = scenes.volume("US ö")
    scenes.parent(reference, scenes.rotation(20))
    nodes = outputs.add(scenes.result({"us": reference}, samples=2), {"us": reference})
    name, noted = nodes["t2"].GetName(), provenance.noted(nodes["t2"])
    voxels, matrix = slicer.util.arrayFromVolume(nodes["t2"]).copy(), scenes.matrix_of(nodes["t2"])
    window = nodes["t2"].GetDisplayNode().GetWindow()
    if ending == ".mrml":
        for index, node in enumerate(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")):
            assert slicer.util.saveNode(node, str(tmp_path / f"{index}.nrrd"), {})
    assert slicer.util.saveScene(str(tmp_path / f"case{ending}"), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / f"case{ending}"), {})
    node = slicer.mrmlScene.GetFirstNodeByName(name)
    assert provenance.noted(node) == noted
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)
    np.testing.assert_allclose(scenes.matrix_of(node), matrix, atol=1e-12)
    assert node.GetDisplayNode().GetWindow() == pytest.approx(window, rel=1e-5)
    assert node.GetNodeReference("MMHVAE.input.us").GetName() == "US ö"
    assert provenance.uncertainty_node(node).GetName() == "US ö synthetic T2 uncertainty (MMHVAE)"
    assert node.GetParentTransformNode().GetName() == "Placement"
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemName(scenes.folder_of(node)) == "US ö: MMHVAE synthesis"


def test_given_nodes_are_overwritten_in_place(slicer, outputs, provenance, scenes):
    inputs = {"us": scenes.volume("US")}
    mine = scenes.volume("My T2", matrix=np.eye(4), shape=(2, 3, 4))
    mine.GetDisplayNode().AutoWindowLevelOff()
    mine.GetDisplayNode().SetWindowLevelMinMax(5, 6)
    bare = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Bare")
    result = scenes.result(inputs, targets=("t2", "cet1", "flair"))
    given = outputs.checked({"t2": mine, "cet1": "Bare" and bare, "flair": None}, inputs, ["t2", "cet1", "flair"])
    home = scenes.folder_of(mine)
    nodes = outputs.add(result, inputs, given)
    assert nodes["t2"] is mine and mine.GetName() == "My T2" and scenes.folder_of(mine) == home
    assert nodes["cet1"] is bare and bare.GetName() == "Bare"
    assert nodes["flair"].GetName() == "US synthetic FLAIR (MMHVAE)"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(mine), sitk.GetArrayViewFromImage(result.images["t2"]))
    assert np.abs(scenes.matrix_of(mine) - scenes.matrix_of(inputs["us"])).max() == 0
    assert mine.GetDisplayNode().GetWindowLevelMax() == 6
    assert bare.GetDisplayNode().GetWindowLevelMax() > 200
    assert provenance.is_synthetic(mine)


def test_a_synthesis_is_not_saved_into_the_file_of_the_scan_that_it_takes_the_place_of(
    slicer, outputs, scenes, tmp_path, monkeypatch
):
    us, scan, file = scenes.volume("US"), scenes.volume("My T2"), tmp_path / "T2 of a patient.nrrd"
    inputs = {"us": us}
    assert slicer.util.saveNode(scan, str(file), {})
    storage, result = scan.GetStorageNode(), scenes.result(inputs, targets=("t2",))
    with monkeypatch.context() as patch:
        patch.setattr(outputs.provenance, "note", lambda *_: (_ for _ in ()).throw(RuntimeError("no")))
        with pytest.raises(RuntimeError):
            outputs.add(result, inputs, {"t2": scan})
    assert scan.GetStorageNode() is storage and storage.GetFileName() == str(file)
    outputs.add(result, inputs, {"t2": scan})
    assert scan.GetStorageNode() is None and storage.GetScene() is None
    # What was saved as a synthesis is one, and its file is the place for the next.
    assert slicer.util.saveNode(scan, str(tmp_path / "synthetic.nrrd"), {})
    outputs.add(scenes.result(inputs, targets=("t2",), seed=7), inputs, {"t2": scan})
    assert scan.GetStorageNode().GetFileName() == str(tmp_path / "synthetic.nrrd")


@pytest.mark.parametrize("samples", [1, 2])
def test_a_second_run_into_the_same_node_leaves_nothing_of_the_first(slicer, outputs, provenance, scenes, samples):
    first = {"us": scenes.volume("US"), "flair": scenes.volume("F")}
    nodes = outputs.add(scenes.result(first, samples=2), first)
    node, maps = nodes["t2"], {modality: provenance.uncertainty_node(each) for modality, each in nodes.items()}
    second = {"us": first["us"]}
    result = scenes.result(second, targets=("t2",), samples=samples, seed=9)
    again = outputs.add(result, second, {"t2": node})["t2"]
    assert again is node and provenance.noted(node)["seed"] == "9"
    assert maps["t2"].GetScene() is None and provenance.uncertainty_node(nodes["cet1"]) is maps["cet1"]
    assert (provenance.uncertainty_node(node) is not None) is (samples == 2)
    left = [each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert len([name for name in left if "T2 uncertainty" in name]) == samples - 1
    assert node.GetNodeReference("MMHVAE.input.flair") is None


def test_a_map_of_a_clone_too_stays_until_neither_has_it(slicer, outputs, provenance, scenes):
    inputs = {"us": scenes.volume("US")}
    made = outputs.add(scenes.result(inputs, targets=("t2",), samples=2), inputs)["t2"]
    shared = provenance.uncertainty_node(made)
    clone = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, made, "My copy")
    assert provenance.uncertainty_node(clone) is shared
    outputs.add(scenes.result(inputs, targets=("t2",)), inputs, {"t2": made})
    assert provenance.uncertainty_node(clone) is shared
    outputs.add(scenes.result(inputs, targets=("t2",)), inputs, {"t2": clone})
    assert shared.GetScene() is None


def test_given_nodes_that_cannot_take_a_result_are_refused(slicer, outputs, scenes):
    inputs = {"us": scenes.volume("US")}
    other = scenes.volume("Other")
    label_map = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    for given, sentence in (
        ({"t2": inputs["us"]}, "is an input of this run"),
        ({"t2": other, "cet1": other}, "chosen twice"),
        ({"t2": label_map}, "must be a scalar volume"),
        ({"t2": "Missing"}, "no volume named 'Missing'"),
        ({"flair": other}, "FLAIR, which is not synthesised"),
    ):
        before = scenes.picture()
        with pytest.raises(InputError, match=sentence):
            outputs.checked(given, inputs, ["t2", "cet1"])
        assert scenes.picture() == before
    with pytest.raises(InputError, match="FLAIR, which is not synthesised"):
        outputs.add(scenes.result(inputs), inputs, {"flair": other})


@pytest.mark.parametrize("name", ["US", "Mine"])
def test_a_reference_or_output_removed_during_the_run_is_told(slicer, outputs, scenes, name):
    inputs, given = {"us": scenes.volume("US"), "flair": scenes.volume("F")}, {"t2": scenes.volume("Mine")}
    result = scenes.result(inputs)
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName(name))
    before = scenes.picture()
    with pytest.raises(InputError, match=f"'{name}' left the scene during the synthesis: nothing was added"):
        outputs.add(result, inputs, given)
    assert scenes.picture() == before


def test_another_input_removed_during_the_run_costs_nothing_but_the_reference_to_it(
    slicer, outputs, provenance, scenes
):
    inputs = {"us": scenes.volume("US"), "flair": scenes.volume("F")}
    result = scenes.result(inputs, samples=2)
    slicer.mrmlScene.RemoveNode(inputs["flair"])
    nodes = outputs.add(result, inputs)
    for node in (nodes["t2"], provenance.uncertainty_node(nodes["t2"])):
        assert provenance.references(node)["MMHVAE.input.us"] == inputs["us"].GetID()
        assert "MMHVAE.input.flair" not in provenance.references(node)
        assert json.loads(provenance.noted(node)["inputs"])["flair"] == "F"


def test_a_map_cannot_take_a_result(slicer, outputs, provenance, scenes):
    inputs = {"us": scenes.volume("US")}
    made = outputs.add(scenes.result(inputs, samples=2), inputs)
    with pytest.raises(InputError, match="is a map that goes with another volume"):
        outputs.checked({"t2": provenance.uncertainty_node(made["t2"])}, inputs, ["t2"])
    shown = scenes.volume("US displacement in mm")
    shown.SetAttribute("MMHVAE.role", "displacement")
    with pytest.raises(InputError, match="'US displacement in mm', is a map"):
        outputs.checked({"t2": shown}, inputs, ["t2"])
    assert outputs.checked({"t2": made["t2"]}, inputs, ["t2"]) == {"t2": made["t2"]}


def test_a_map_that_was_overwritten_belongs_to_no_image_any_more(slicer, outputs, provenance, scenes):
    """As in a scene of an earlier version, which let a map be an output."""
    from MMHVAESynthesisLib.scene.runs import runs

    inputs = {"us": scenes.volume("US")}
    old = outputs.add(scenes.result(inputs, targets=("t2",), samples=2), inputs)["t2"]
    of_old = provenance.uncertainty_node(old)
    outputs.add(scenes.result(inputs, targets=("t2",)), inputs, {"t2": of_old})
    assert provenance.uncertainty_node(old) is None
    (last, first) = sorted(runs(), key=lambda run: run.outputs["t2"] is old)
    first.delete()
    assert old.GetScene() is None and of_old.GetScene() is not None and [run.id for run in runs()] == [last.id]
    other = outputs.add(scenes.result(inputs, targets=("t2",), samples=2), inputs)["t2"]
    last.outputs["t2"].SetNodeReferenceID(provenance.UNCERTAINTY, provenance.uncertainty_node(other).GetID())
    assert provenance.uncertainty_node(last.outputs["t2"]) is None, "it is that of another run"


def fail_at(monkeypatch, owner, name, call):
    """Make the ``call``-th call of ``owner.name`` raise; the ones before it work."""
    real, count = getattr(owner, name), [0]

    def failing(*arguments, **keywords):
        count[0] += 1
        if count[0] == call:
            raise RuntimeError("no more memory")
        return real(*arguments, **keywords)

    monkeypatch.setattr(owner, name, failing)
    return count


FAILURES = [
    *[(stage, call) for stage in ("set_voxels", "show", "note", "_new", "_folder_in") for call in (1, 2, 3, 5)],
    *[("_remember", call) for call in (1, 2, 3)],
    ("pop_all", 1),
]


@pytest.mark.parametrize(("stage", "call"), FAILURES)
def test_a_failure_at_any_stage_leaves_the_scene_as_it_was(
    slicer, outputs, provenance, scenes, monkeypatch, stage, call
):
    inputs = {"us": scenes.volume("US"), "flair": scenes.volume("F", seed=3)}
    transform = scenes.parent(inputs["us"], scenes.rotation(20))
    outputs.add(scenes.result(inputs, samples=2, seed=7), inputs)
    mine = outputs.add(scenes.result(inputs, targets=("t2",), samples=2, seed=8), inputs)["t2"]
    bare = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Bare")
    plain = scenes.volume("Plain", matrix=np.eye(4), shape=(2, 3, 4))
    plain.SetAndObserveTransformNodeID(transform.GetID())
    result = scenes.result(inputs, targets=("us", "t2", "cet1", "flair"), samples=2)
    owners = [outputs, outputs.display, outputs.provenance, outputs._Run, outputs.ExitStack]
    owner = next(each for each in owners if hasattr(each, stage))
    before = scenes.picture()
    with monkeypatch.context() as patch:
        calls = fail_at(patch, owner, stage, call)
        with pytest.raises(RuntimeError, match="no more memory"):
            outputs.add(result, inputs, {"t2": mine, "cet1": bare, "flair": plain})
        assert calls[0] >= call
    assert scenes.picture() == before
    nodes = outputs.add(result, inputs, {"t2": mine, "cet1": bare, "flair": plain})
    assert nodes["us"].GetName() == "US synthetic iUS (MMHVAE) 3", "the earlier runs took the name and the number 2"


def test_a_scene_of_forty_nodes_gains_the_outputs_and_nothing_else_changes(slicer, outputs, scenes):
    inputs = {"us": scenes.volume("US")}
    for index in range(40):
        scenes.volume(f"Other {index}", shape=(2, 2, 2), seed=index)
    before = scenes.picture()
    outputs.add(scenes.result(inputs), inputs)
    after = scenes.picture()
    assert {key: after["nodes"][key] for key in before["nodes"]} == before["nodes"]
    added = [after["nodes"][key]["name"] for key in after["nodes"] if key not in before["nodes"]]
    assert sorted(name for name in added if "MMHVAE" in name) == [
        "US synthetic T2 (MMHVAE)",
        "US synthetic ceT1 (MMHVAE)",
    ]
    assert len(added) == 4, "two volumes and their display nodes"


def test_a_synthetic_volume_is_known_without_its_notes(outputs, provenance, scenes):
    """As one that was saved to a file, or written by the command line, and loaded again."""
    for name in ("US synthetic T2 (MMHVAE)", "Case27-US_synthetic-T2", "US synthetic T2 (MMHVAE)_1"):
        assert provenance.is_synthetic(scenes.volume(name)), name
    for name in ("T2", "synthetic phantom T2", "US"):
        assert not provenance.is_synthetic(scenes.volume(name)), name


def test_a_synthetic_input_is_warned_of(outputs, provenance, scenes):
    inputs = {"us": scenes.volume("US")}
    result = scenes.result(inputs)
    assert provenance.with_input_warnings(result, inputs).warnings == []
    made = outputs.add(result, inputs)["t2"]
    warned = provenance.with_input_warnings(result, {"us": inputs["us"], "t2": made})
    (warning,) = warned.warnings
    assert "T2 'US synthetic T2 (MMHVAE)' is itself synthetic" in warning
    nodes = outputs.add(warned, {"us": inputs["us"], "t2": made})
    assert warning in json.loads(provenance.noted(nodes["cet1"])["warnings"])
