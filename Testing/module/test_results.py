"""Runs, comparison, overlay and marks, in the real scene with real slice views."""

import numpy as np
import pytest

from .driving import apply, finish, marks_on_views, settle


def composites(layout):
    return {
        name: layout.sliceWidget(name).sliceLogic().GetSliceCompositeNode()
        for name in layout.sliceViewNames()
        if layout.sliceWidget(name).mrmlSliceNode().IsMappedInLayout()
    }


def marks():
    import slicer

    every = slicer.mmhvaeSyntheticMarks._marks
    return {name for name, mark in every.items() if mark._actor.GetVisibility()}


@pytest.fixture
def layout(layout, panel, module):
    """The views, with the marks put on them as at Slicer's start."""
    with marks_on_views(module):
        yield layout


def node(slicer, name):
    return slicer.mrmlScene.GetFirstNodeByName(name)


def run(panel, child, **settings):
    apply(panel)
    return finish(panel, child, **settings)


def test_views_that_show_a_synthetic_volume_say_so_and_only_they(slicer, layout, ready, child):
    assert marks() == set()
    run(ready, child)
    assert marks() == set(composites(layout)) and len(marks()) == 3
    first = next(iter(composites(layout)))
    composites(layout)[first].SetBackgroundVolumeID(node(slicer, "Doe-US").GetID())
    assert marks() == set(composites(layout)) - {first}
    composites(layout)[first].SetForegroundVolumeID(node(slicer, "Doe-US synthetic T2 (MMHVAE)").GetID())
    composites(layout)[first].SetForegroundOpacity(0)
    assert first not in marks()
    composites(layout)[first].SetForegroundOpacity(0.3)
    assert first in marks()


def test_the_mark_is_in_the_picture(slicer, layout, ready, child):
    from vtk.util.numpy_support import vtk_to_numpy

    def corner():
        image = view.picture()
        width, height, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
        return pixels[: height // 5, width // 3 :].astype(int)

    run(ready, child)
    view = layout.sliceWidget(next(iter(composites(layout))))
    marked = corner()
    yellow = (marked[..., 0] > 150) & (marked[..., 1] > 120) & (marked[..., 2] < 120)
    assert yellow.sum() > 50
    view.sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(node(slicer, "Doe-US").GetID())
    plain = corner()
    assert ((plain[..., 0] > 150) & (plain[..., 1] > 120) & (plain[..., 2] < 120)).sum() == 0


def test_a_volume_that_is_overwritten_while_shown_gets_its_mark(slicer, layout, ready, child, scenes, monkeypatch):
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_: True)
    mine = scenes.volume("Mine")
    slicer.util.setSliceViewerLayers(background=mine)
    ready.ui.t2Output.setCurrentNode(mine)
    assert marks() == set()
    run(ready, child)
    assert len(marks()) == 3 and mine.GetAttribute("MMHVAE.synthetic") == "1"


def test_a_run_from_the_console_marks_what_is_shown_too(slicer, layout, module, scenes, monkeypatch):
    from MMHVAESynthesisLib.synthesis import engine

    us, mine = scenes.volume("US"), scenes.volume("Mine")
    slicer.util.setSliceViewerLayers(background=mine)
    monkeypatch.setattr(engine, "synthesize", lambda *_: scenes.result({"us": us}, ("t2",)))
    module.MMHVAESynthesisLogic().synthesize({"us": us}, ["t2"], {"t2": mine})
    assert len(marks()) == 3


def test_marks_come_back_with_a_saved_scene_and_go_with_a_closed_one(slicer, layout, ready, child, tmp_path):
    run(ready, child)
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    shown = marks()
    slicer.mrmlScene.Clear(0)
    assert marks() == set()
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    slicer.util.setSliceViewerLayers(background=node(slicer, "Doe-US synthetic T2 (MMHVAE)"))
    assert len(shown) == 3 and marks() >= shown


def test_installing_again_leaves_one_mark_a_view(slicer, layout, module, ready, child):
    run(ready, child)
    module.prepareViews()
    module.prepareViews()
    for name in composites(layout):
        renderer = layout.sliceWidget(name).renderWindow().GetRenderers().GetFirstRenderer()
        props = renderer.GetViewProps()
        texts = [props.GetItemAsObject(i) for i in range(props.GetNumberOfItems())]
        assert len([each for each in texts if each.IsA("vtkTextActor") and each.GetInput() == "SYNTHETIC"]) == 1
    assert len(marks()) == 3


def test_compare_shows_inputs_and_outputs_linked_in_one_slice_and_the_former_layout_comes_back(
    slicer, layout, ready, child, scenes
):
    arrangement = layout.layoutLogic().GetLayoutNode()
    former = arrangement.GetViewArrangement()
    assert ready.ui.compareButton.enabled is False and ready.ui.formerLayoutButton.enabled is False
    run(ready, child)
    ready.ui.compareButton.click()
    shown = composites(layout)
    names = {slicer.mrmlScene.GetNodeByID(each.GetBackgroundVolumeID()).GetName() for each in shown.values()}
    assert len(shown) == 4 and names == {"Doe-US", *(f"Doe-US synthetic {m} (MMHVAE)" for m in ("T2", "ceT1", "FLAIR"))}
    assert all(each.GetLinkedControl() and each.GetHotLinkedControl() for each in shown.values())
    planes = [slicer.util.arrayFromVTKMatrix(layout.sliceWidget(n).mrmlSliceNode().GetSliceToRAS()) for n in shown]
    for plane in planes[1:]:
        np.testing.assert_allclose(plane, planes[0])
    across = scenes.matrix_of(node(slicer, "Doe-US"))[:3, 2]
    assert abs(planes[0][:3, 2] @ across) == pytest.approx(np.linalg.norm(across)), "in the plane of its own voxels"
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    assert crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowBasic
    assert len(marks() & set(shown)) == 3, "the input's view has no mark"
    ready.ui.compareButton.click()
    ready.ui.formerLayoutButton.click()
    assert arrangement.GetViewArrangement() == former and ready.ui.formerLayoutButton.enabled is False
    assert len(composites(layout)) == 3


def test_the_table_lists_the_runs_and_a_click_shows_one(slicer, layout, ready, child):
    table = ready.ui.runsTable
    assert table.rowCount == 0
    run(ready, child, targets=("t2",), seed=1)
    run(ready, child, targets=("flair",), seed=2, uncertainty=True, model="0815")
    assert table.rowCount == 2
    cells = [[table.item(row, column).text() for column in range(1, 7)] for row in range(2)]
    assert cells == [["iUS", "FLAIR", "0815", "0.7", "2", "2"], ["iUS", "T2", "m", "0.7", "1", "1"]]
    table.selectRow(1)

    def shown():
        every = composites(layout).values()
        return {slicer.mrmlScene.GetNodeByID(each.GetBackgroundVolumeID()).GetName() for each in every}

    assert shown() == {"Doe-US synthetic T2 (MMHVAE)"}
    slicer.util.setSliceViewerLayers(background=node(slicer, "Doe-US"))
    table.cellClicked.emit(1, 0)
    assert shown() == {"Doe-US synthetic T2 (MMHVAE)"}, "a click on what is chosen already shows it again"


def test_the_time_of_a_run_is_short_and_whole_in_the_tooltip(slicer, layout, ready, child):
    import re

    run(ready, child, targets=("t2",))
    made = node(slicer, "Doe-US synthetic T2 (MMHVAE)")
    table = ready.ui.runsTable
    assert re.fullmatch(r"\d\d:\d\d", table.item(0, 0).text())
    assert made.GetAttribute("MMHVAE.created") in table.item(0, 0).toolTip()
    made.SetAttribute("MMHVAE.created", "2024-03-05T12:00:00+00:00")
    ready.panel.results.update()
    assert table.item(0, 0).text() == "05 Mar"


def test_a_long_name_of_a_model_does_not_push_the_settings_out_of_sight(slicer, layout, ready, child):
    name = "a model whose name is much longer than its column " * 3
    run(ready, child, model=name)
    table = ready.ui.runsTable
    assert sum(table.columnWidth(column) for column in range(7)) < 450 and name in table.item(0, 3).toolTip()


def test_a_run_is_deleted_with_maps_and_folder(slicer, layout, ready, scenes, child, monkeypatch):
    before = set(scenes.picture()["nodes"])
    items = scenes.picture()["items"]
    run(ready, child, uncertainty=True)
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 7
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: False)
    ready.panel.results.on_delete()
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 7
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    ready.panel.results.on_delete()
    left = [each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert left == ["Doe-US"] and ready.ui.runsTable.rowCount == 0 and scenes.picture()["items"] == items
    extra = {slicer.mrmlScene.GetNodeByID(each).GetClassName() for each in set(scenes.picture()["nodes"]) - before}
    assert not any("Volume" in name for name in extra), extra


def test_a_run_is_repeated_with_its_own_settings(slicer, layout, ready, child, model_path, scenes):
    ready.ui.temperatureSlider.value = 0.2
    ready.ui.cet1Target.checked = False
    run(
        ready,
        child,
        targets=("t2", "flair"),
        temperature=0.2,
        seed=5,
        noise="shared",
        directions=1,
        half_precision=True,
    )
    ready.ui.temperatureSlider.value = 0.9
    ready.ui.cet1Target.checked = True
    ready.ui.usSelector.setCurrentNode(scenes.volume("Other"))
    ready.ui.modelSelector.currentIndex = 0
    ready.panel.repeat(ready.panel.results.chosen())
    from MMHVAESynthesisLib.__main__ import parser

    args = parser().parse_args(child.calls[-1])
    assert (args.targets, args.temperature, args.seed, args.noise) == (["t2,flair"], 0.2, 5, "shared")
    assert args.half is True and args.directions == 1 and ready.ui.allDirectionsCheckBox.checked, (
        "the user's own choice stays"
    )
    assert args.model == model_path and ready.ui.usSelector.currentNode().GetName() == "Doe-US"
    ready.panel.work.stop()
    forget_the_session(ready)
    ready.panel.repeat(ready.panel.results.chosen())
    assert "Choose the model 'm' first" in ready.ui.statusLabel.text
    slicer.mrmlScene.RemoveNode(node(slicer, "Doe-US"))
    ready.panel.repeat(ready.panel.results.chosen())
    assert "Doe-US left the scene" in ready.ui.statusLabel.text


@pytest.mark.parametrize("beyond", [{"samples": 100}, {"seed": 2**40, "samples": 3}])
def test_a_run_of_the_console_beyond_the_panels_ranges_is_not_half_repeated(layout, ready, child, scenes, beyond):
    run(ready, child, targets=("t2",), **beyond)
    other = scenes.volume("Other")
    ready.ui.usSelector.setCurrentNode(other)
    before = ready.panel._parameters.samples, ready.panel._parameters.seed
    ready.panel.repeat(ready.panel.results.chosen())
    assert "repeat it in the Python console" in ready.ui.statusLabel.text and len(child.calls) == 1
    assert ready.ui.usSelector.currentNode() is other
    assert (ready.panel._parameters.samples, ready.panel._parameters.seed) == before


def test_a_run_whose_volumes_are_removed_elsewhere_leaves_the_table(slicer, layout, ready, child):
    run(ready, child)
    assert ready.ui.runsTable.rowCount == 1
    for volume in list(ready.panel.results.chosen().outputs.values()):
        slicer.mrmlScene.RemoveNode(volume)
    assert ready.ui.runsTable.rowCount == 0 and ready.ui.compareButton.enabled is False


def test_a_run_of_the_console_is_in_the_table_of_an_open_panel(slicer, layout, ready, module, scenes, monkeypatch):
    from MMHVAESynthesisLib.synthesis import engine

    us = ready.ui.usSelector.currentNode()
    monkeypatch.setattr(engine, "synthesize", lambda *_: scenes.result({"us": us}, ("t2",), samples=2))
    made = module.MMHVAESynthesisLogic().synthesize({"us": us}, ["t2"])["t2"]
    settle()
    assert ready.ui.runsTable.rowCount == 1 and ready.panel.results.chosen().outputs == {"t2": made}
    assert ready.ui.compareButton.enabled and ready.ui.overlayCheckBox.enabled


def test_a_clone_is_the_users_own(slicer, layout, ready, child, monkeypatch):
    run(ready, child)
    made = ready.panel.results.chosen().outputs["t2"]
    clone = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "My copy")
    clone.Copy(made)
    clone.SetName("My copy")
    ready.panel.results.update()
    assert ready.panel.results.chosen().outputs["t2"] is made
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *args, **kwargs: True)
    ready.panel.results.on_delete()
    assert made.GetScene() is None and clone.GetScene() is not None
    assert ready.ui.runsTable.rowCount == 0 and clone.GetAttribute("MMHVAE.synthetic") == "1"


def test_the_marked_row_is_the_run_that_the_buttons_act_on(slicer, layout, ready, child):
    for _ in range(3):
        run(ready, child)
    table, results = ready.ui.runsTable, ready.panel.results
    table.selectRow(1)
    kept = results.chosen()
    for volume in list(results._runs[0].outputs.values()):
        slicer.mrmlScene.RemoveNode(volume)
    assert table.rowCount == 2 and table.currentRow() == 0 and results.chosen().id == kept.id
    for volume in list(kept.outputs.values()):
        slicer.mrmlScene.RemoveNode(volume)
    assert table.selectedItems() == [] and results.chosen().id == results._runs[0].id


def test_the_right_button_offers_to_compare_to_repeat_and_to_delete(ready, layout, child, monkeypatch, slicer):
    import qt

    table = ready.ui.runsTable
    assert table.contextMenuPolicy == qt.Qt.ActionsContextMenu
    assert [action.enabled for action in table.actions()] == [False] * 3
    run(ready, child, targets=("t2",))
    compare, repeat, delete = table.actions()
    assert "Compare" in compare.text and "Repeat" in repeat.text and "Delete" in delete.text
    compare.trigger()
    assert len(composites(layout)) == 2
    repeat.trigger()
    assert len(child.calls) == 2
    ready.panel.work.stop()
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    delete.trigger()
    assert table.rowCount == 0


def test_no_run_is_repeated_while_another_goes_on(ready, layout, child):
    run(ready, child)
    repeat = ready.ui.runsTable.actions()[1]
    apply(ready)
    assert repeat.enabled is False and ready.ui.runsTable.actions()[0].enabled is True
    finish(ready, child)
    assert repeat.enabled is True


def forget_the_session(panel):
    """As after Slicer was started anew: which model made a run is known from the scene alone."""
    panel.panel._models.clear()
    panel.ui.modelSelector.currentIndex = 0
    panel.panel.update()


def test_a_run_of_an_earlier_session_is_repeated_with_the_model_that_its_volumes_note(ready, child, layout, model_path):
    from .driving import choose_file

    run(ready, child, model="m")
    forget_the_session(ready)
    choose_file(ready, model_path)
    ready.panel.repeat(ready.panel.results.chosen())
    assert len(child.calls) == 2 and f"--model={model_path}" in child.calls[-1]
    ready.panel.work.stop()


def test_a_model_whose_file_was_replaced_in_the_session_repeats_no_run(ready, child, layout, model_path):
    from .driving import choose_file

    choose_file(ready, model_path)
    run(ready, child, model="another")
    ready.panel.repeat(ready.panel.results.chosen())
    assert len(child.calls) == 2, "as long as the file is the same, it is the run's whatever the run notes"
    finish(ready, child, model="another")
    with open(model_path, "ab") as file:
        file.write(b"replaced")
    ready.panel.repeat(ready.panel.results.chosen())
    assert len(child.calls) == 2 and "Choose the model" in ready.ui.statusLabel.text


def test_a_model_is_known_again_by_its_digest_whatever_it_is_called(slicer, ready, child, layout, tmp_path, module):
    pytest.importorskip("torch", reason="not installed: torch")
    from MMHVAESynthesisLib.models.header import read_header

    own = tmp_path / "own"
    own.mkdir()
    path = module.MMHVAESynthesisTest().makeModel(str(own / "renamed.safetensors"))
    digest = read_header(own / "renamed.safetensors")[0].digest
    run(ready, child, model="as it was called then", model_digest=digest)
    forget_the_session(ready)
    ready.panel.options.reload_models()
    ready.panel.repeat(ready.panel.results.chosen())
    assert "--model=renamed.safetensors" in child.calls[-1], path
    ready.panel.work.stop()


def test_the_uncertainty_is_laid_over_and_taken_away(slicer, layout, ready, child):
    run(ready, child)
    assert ready.ui.overlayCheckBox.enabled is False
    run(ready, child, uncertainty=True)
    assert ready.ui.overlayCheckBox.enabled is True
    ready.ui.overlayCheckBox.checked = True
    ready.ui.overlaySlider.value = 0.4
    for composite in composites(layout).values():
        shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
        assert shown.GetAttribute("MMHVAE.role") == "uncertainty" and composite.GetForegroundOpacity() == 0.4
    ready.ui.overlayCheckBox.checked = False
    assert all(composite.GetForegroundVolumeID() is None for composite in composites(layout).values())


def test_what_lay_over_the_synthetic_volume_lies_there_again_after_the_overlay(slicer, layout, ready, child, scenes):
    run(ready, child, uncertainty=True)
    other = scenes.volume("CT")
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.7)
    ready.ui.overlayCheckBox.checked = True
    ready.ui.overlaySlider.value = 0.4
    ready.ui.overlaySlider.value = 0.2
    ready.ui.overlayCheckBox.checked = False
    for composite in composites(layout).values():
        assert composite.GetForegroundVolumeID() == other.GetID() and composite.GetForegroundOpacity() == 0.7


def test_it_lies_there_again_though_the_map_was_deleted_and_no_opacity_comes_back_without_it(
    slicer, layout, ready, child, scenes
):
    run(ready, child, uncertainty=True)
    other = scenes.volume("CT")
    for gone in ("map", "CT"):
        slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.7)
        ready.ui.overlayCheckBox.checked = True
        ready.ui.overlaySlider.value = 0.4
        if gone == "CT":
            slicer.mrmlScene.RemoveNode(other)
            ready.ui.overlayCheckBox.checked = False
            assert {each.GetForegroundOpacity() for each in composites(layout).values()} == {0.4}
        else:
            overlaid = next(iter(composites(layout).values())).GetForegroundVolumeID()
            made = slicer.mrmlScene.GetNodeByID(overlaid)
            slicer.mrmlScene.RemoveNode(made)
            ready.ui.overlayCheckBox.checked = False
            assert {each.GetForegroundVolumeID() for each in composites(layout).values()} == {other.GetID()}
            run(ready, child, uncertainty=True)


@pytest.mark.parametrize("then", ["a run without a map", "another one was chosen", "none was chosen"])
def test_what_lay_there_before_the_map_covers_nothing_that_is_shown_later(slicer, layout, ready, child, scenes, then):
    run(ready, child, uncertainty=True)
    slicer.util.setSliceViewerLayers(foreground=scenes.volume("CT"), foregroundOpacity=1.0)
    ready.ui.overlayCheckBox.checked = True
    expected = None
    if then != "a run without a map":
        expected = scenes.volume("PET") if then == "another one was chosen" else None
        slicer.util.setSliceViewerLayers(foreground=expected)
        ready.ui.overlayCheckBox.checked = False
        shown = {each.GetForegroundVolumeID() for each in composites(layout).values()}
        assert shown == {None if expected is None else expected.GetID()}
    run(ready, child, uncertainty=False)
    assert {each.GetForegroundVolumeID() for each in composites(layout).values()} == {None}


def test_an_overlay_that_has_nothing_to_show_says_so(slicer, layout, ready, child):
    run(ready, child)
    box = ready.ui.overlayCheckBox
    assert box.enabled is False and "tick Uncertainty" in box.toolTip
    run(ready, child, uncertainty=True)
    assert "tick Uncertainty" not in box.toolTip
    ready.ui.runsTable.selectRow(1)
    box.checked = True
    assert box.text == "Uncertainty as overlay: none for what is shown"
    ready.ui.runsTable.selectRow(0)
    assert box.text == "Uncertainty as overlay"
    ready.ui.compareButton.click()
    assert box.text == "Uncertainty as overlay"
    ready.ui.formerLayoutButton.click()
    ready.ui.runsTable.selectRow(1)
    box.checked = False
    assert box.text == "Uncertainty as overlay"
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute("MMHVAE.role") == "uncertainty":
            slicer.mrmlScene.RemoveNode(node)
    settle()
    assert box.enabled is False and "tick Uncertainty" in box.toolTip, "the run still notes its samples"


def test_the_overlay_of_a_saved_scene_can_be_taken_away_with_one_click(slicer, layout, ready, child, tmp_path):
    run(ready, child, uncertainty=True)
    box = ready.ui.overlayCheckBox
    box.checked = True
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert box.checked is False
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    assert box.checked is True and all(each.GetForegroundVolumeID() for each in composites(layout).values())
    box.checked = False
    assert not any(each.GetForegroundVolumeID() for each in composites(layout).values())


def test_the_runs_of_a_saved_scene_come_back(slicer, layout, ready, child, tmp_path):
    run(ready, child, targets=("t2",), seed=3)
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert ready.ui.runsTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    assert ready.ui.runsTable.rowCount == 1
    found = ready.panel.results.chosen()
    assert found.setting("seed") == 3 and found.inputs()["us"].GetName() == "Doe-US"
