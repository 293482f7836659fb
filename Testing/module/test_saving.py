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
    from MMHVAESynthesisLib.scene import annotations, saving

    annotations.uninstall()
    saving.uninstall()


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


def test_a_scene_saved_in_the_comparison_has_views_where_the_module_is_missing(slicer, arrangement, scenes, elsewhere):
    from MMHVAESynthesisLib.scene import layouts

    layouts.compare([scenes.volume("A"), scenes.volume("B")])
    assert in_layout(slicer) == {"MMHVAE1", "MMHVAE2"}
    elsewhere()
    assert arrangement.GetViewArrangement() == FOUR_UP and in_layout(slicer) == {"Red", "Yellow", "Green"}


@pytest.mark.parametrize("by_the_menu", [True, False])
def test_the_layout_is_saved_again_once_the_comparison_is_left(slicer, arrangement, scenes, elsewhere, by_the_menu):
    from MMHVAESynthesisLib.scene import layouts

    arrangement.SetViewArrangement(CONVENTIONAL)
    layouts.compare([scenes.volume("A")])
    slicer.mrmlScene.Clear(0)
    layouts.compare([scenes.volume("B")])
    if not by_the_menu:
        layouts.restore()
    arrangement.SetViewArrangement(CONVENTIONAL)
    elsewhere()
    assert arrangement.GetViewArrangement() == CONVENTIONAL


def test_what_looks_after_the_layout_does_so_once_and_goes_with_the_module(arrangement, module, monkeypatch):
    from MMHVAESynthesisLib.scene import layouts, saving

    calls = []
    monkeypatch.setattr(layouts, "keep_out_of_files", lambda: calls.append(1))
    for _ in range(3):
        module.prepareViews()
    calls.clear()
    arrangement.Modified()
    assert len(calls) == 1
    saving.uninstall()
    arrangement.Modified()
    assert len(calls) == 1


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
