"""Scenes that are saved while the comparison or a registration is looked at."""

import pytest

FOUR_UP, CONVENTIONAL = 3, 2


@pytest.fixture
def arrangement(layout, module):
    """The layout node, with everything in place as at Slicer's start."""
    module.prepareViews()
    yield layout.layoutLogic().GetLayoutNode()
    _take_away()


def _take_away():
    from MMHVAESynthesisLib.scene import annotations, upkeep

    annotations.uninstall()
    upkeep.uninstall()


@pytest.fixture
def elsewhere(slicer, arrangement, tmp_path):
    """Saves the scene and opens it in a Slicer that has not got this module."""

    def run():
        slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
        _take_away()
        arrangement.SetViewArrangement(FOUR_UP)
        for number in range(5071, 5083):
            arrangement.SetLayoutDescription(number, "")
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(tmp_path / "case.mrb"), {})

    return run


def in_layout(slicer):
    return {node.GetLayoutName() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()}


def test_a_scene_saved_in_the_comparison_opens_in_it_and_the_former_layout_comes_back(
    slicer, arrangement, scenes, tmp_path
):
    from MMHVAESynthesisLib.scene import layouts

    arrangement.SetViewArrangement(CONVENTIONAL)
    layouts.compare([scenes.volume("A"), scenes.volume("B")])
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    arrangement.SetViewArrangement(FOUR_UP)
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    assert layouts.is_comparing() and in_layout(slicer) == {"MMHVAE1", "MMHVAE2"}
    layouts.restore()
    assert arrangement.GetViewArrangement() == CONVENTIONAL and in_layout(slicer) == {"Red", "Yellow", "Green"}


def test_where_the_module_is_missing_it_has_views_once_a_layout_is_chosen(slicer, arrangement, scenes, elsewhere):
    from MMHVAESynthesisLib.scene import layouts

    layouts.compare([scenes.volume("A"), scenes.volume("B")])
    elsewhere()
    assert in_layout(slicer) == set()
    arrangement.SetViewArrangement(FOUR_UP)
    assert in_layout(slicer) == {"Red", "Yellow", "Green"}


def test_a_comparison_that_slicer_came_up_in_has_views_once_the_module_is_there(slicer, arrangement, scenes, elsewhere):
    from MMHVAESynthesisLib.scene import layouts

    layouts.compare([scenes.volume("A"), scenes.volume("B")])
    elsewhere()
    layouts.register()
    assert in_layout(slicer) == {"MMHVAE1", "MMHVAE2"}


@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize("by_the_menu", [True, False])
def test_scene_views_bring_the_comparison_and_other_layouts_back(slicer, arrangement, scenes, by_the_menu, removing):
    from MMHVAESynthesisLib.scene import layouts

    def stored():
        view = slicer.mrmlScene.AddNode(slicer.vtkMRMLSceneViewNode())
        view.StoreScene()
        return view

    volumes = [scenes.volume("A"), scenes.volume("B")]
    layouts.compare(volumes)
    during = stored()
    layouts.restore()
    if by_the_menu:
        arrangement.SetViewArrangement(CONVENTIONAL)
    after, left = stored(), arrangement.GetViewArrangement()
    for view, shown in ((during, 5072), (after, left), (during, 5072)):
        view.RestoreScene(removing)
        assert arrangement.GetViewArrangement() == shown and layouts.layout_node() is arrangement
    arrangement.Modified()  # as Slicer's layout manager does after restoring
    assert in_layout(slicer) == {"MMHVAE1", "MMHVAE2"}
    layouts.restore()
    assert arrangement.GetViewArrangement() == FOUR_UP and in_layout(slicer) == {"Red", "Yellow", "Green"}


def test_what_looks_after_loaded_scenes_does_so_once_and_goes_with_the_module(slicer, arrangement, module, monkeypatch):
    from MMHVAESynthesisLib.scene import registration_view, upkeep

    calls = []
    monkeypatch.setattr(registration_view, "recover", lambda: calls.append(1))
    # As a view of a loaded scene is that was saved while a registration was looked at.
    (view, *_) = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    view.SetAttribute("MMHVAE.shown", "1")
    for _ in range(3):
        module.prepareViews()
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.EndImportEvent)
    assert len(calls) == 1
    upkeep.uninstall()
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.EndImportEvent)
    assert len(calls) == 1
    view.RemoveAttribute("MMHVAE.shown")


@pytest.fixture
def registered(slicer, arrangement, scenes):
    """A registration's transform node, with its synthetic and its pre-operative MR."""
    synthetic, mr = scenes.volume("Synthetic"), scenes.volume("MR", seed=1)
    transform = scenes.parent(mr, scenes.rotation(20), "Registration")
    transform.SetNodeReferenceID("MMHVAE.fixed.t2", synthetic.GetID())
    transform.SetNodeReferenceID("MMHVAE.input.t2", mr.GetID())
    return transform


def layers(slicer):
    """The names of what is in the background and foreground of the three slice views, each pair once."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ids = {(each.GetBackgroundVolumeID(), each.GetForegroundVolumeID()) for each in composites}
    return [[each and slicer.mrmlScene.GetNodeByID(each).GetName() for each in pair] for pair in ids]


@pytest.mark.parametrize(
    ("kind", "before", "opens_with"),
    [
        ("checkerboard", False, ["Synthetic", None]),
        ("checkerboard", True, ["Synthetic", None]),
        ("fade", True, ["Synthetic", "MR"]),
        ("fade", False, ["Synthetic", "MR"]),
    ],
)
def test_a_scene_saved_while_a_registration_is_looked_at_shows_the_volumes_themselves(
    slicer, registered, tmp_path, kind, before, opens_with
):
    from MMHVAESynthesisLib.scene import registration_view

    registration_view.show(registered, kind, before, 0.5)
    was = layers(slicer)
    for ending in (".mrb", ".mrml"):
        assert slicer.util.saveScene(str(tmp_path / f"case{ending}"), {}) and layers(slicer) == was
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    assert layers(slicer) == [opens_with]
    assert {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode")} == {"Synthetic", "MR"}


@pytest.mark.parametrize("kind", ["checkerboard", "fade"])
def test_it_shows_the_synthetic_mr_at_least_where_the_module_is_missing(slicer, registered, elsewhere, kind):
    from MMHVAESynthesisLib.scene import registration_view

    registration_view.show(registered, kind, True, 0.5)
    elsewhere()
    assert layers(slicer) == [["Synthetic", None]]


def test_a_view_whose_mr_was_taken_off_stays_so_when_another_scene_is_added(slicer, registered, tmp_path):
    from MMHVAESynthesisLib.scene import registration_view

    other = tmp_path / "other.mrml"
    other.write_text('<MRML version="Slicer4.4.0"><LinearTransform id="vtkMRMLLinearTransformNode9" name="T"/></MRML>')
    registration_view.show(registered, "fade", True, 0.5)
    slicer.util.setSliceViewerLayers(foreground=None)
    slicer.mrmlScene.SetURL(str(other))
    slicer.mrmlScene.Import()
    assert slicer.util.getNode("T") and layers(slicer) == [["Synthetic", None]]


def test_a_scene_saved_with_the_checkerboard_has_the_opacity_from_before_it(slicer, registered, tmp_path):
    from MMHVAESynthesisLib.scene import registration_view

    slicer.util.setSliceViewerLayers(foregroundOpacity=0.25)
    registration_view.show(registered, "checkerboard", True, 0.5)
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {each.GetForegroundOpacity() for each in composites} == {0.25}
    assert {each.GetAttribute("MMHVAE.formerOpacity") for each in composites} == {None}
