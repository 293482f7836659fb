"""SYNTHETIC in views that leave the scene, whose widgets Slicer deletes, and in those that come in their place."""

import pytest

from .driving import marks_on_views


@pytest.fixture
def layout(layout, module):
    """The views, with the marks put on them as at Slicer's start."""
    with marks_on_views(module):
        yield layout


@pytest.fixture
def annotations(layout):
    from MMHVAESynthesisLib.scene import annotations

    return annotations


def lose(slicer, layout, view):
    """Take a view's nodes out of the scene; what is called on the widget afterwards is PythonQt's error."""

    def gone(*_):
        raise ValueError("Trying to call 'scheduleRender' on a destroyed ctkVTKSliceView object")

    node = view.node
    for views in (layout._widgets, layout._spatial):
        views.pop(node.GetLayoutName(), None)
    if hasattr(view, "sliceLogic"):
        layout.mrmlSliceLogics().RemoveItem(view.sliceLogic())
    view.close()
    if node.GetScene() is not None:
        slicer.mrmlScene.RemoveNode(node)
    view.scheduleRender = view.renderWindow = view.mrmlViewNode = gone


def views_again(slicer, layout):
    """Have the layout make anew the views that it lacks."""
    node = layout.layoutLogic().GetLayoutNode()
    for arrangement in ("SlicerLayoutOneUpRedSliceView", "SlicerLayoutFourUpView"):
        node.SetViewArrangement(getattr(slicer.vtkMRMLLayoutNode, arrangement))


def synthetic(scenes):
    node = scenes.volume("Made")
    node.SetAttribute("MMHVAE.synthetic", "1")
    return node


def marks_of(annotations, view):
    """Return for each mark in a view whether it is shown."""
    props = annotations.renderer_of(view).GetViewProps()
    every = (props.GetItemAsObject(index) for index in range(props.GetNumberOfItems()))
    texts = (each for each in every if each.IsA("vtkTextActor"))
    return [bool(each.GetVisibility()) for each in texts if each.GetInput() == annotations.TEXT]


def test_the_marks_go_and_come_again_when_a_view_is_gone(slicer, layout, scenes, annotations):
    slicer.util.setSliceViewerLayers(background=synthetic(scenes))
    lost, left = layout.sliceWidget("Red"), layout.sliceWidget("Green")
    lose(slicer, layout, lost)
    lose(slicer, layout, layout.threeDWidget(0))
    assert marks_of(annotations, left) == [True]
    annotations.refresh()
    annotations.uninstall()
    assert marks_of(annotations, left) == []
    annotations.install()
    assert marks_of(annotations, left) == [True]


def test_a_composite_node_that_outlives_its_view_does_no_harm(slicer, layout, scenes, annotations, capfd):
    view = layout.sliceWidget("Red")
    composite, made = view.sliceLogic().GetSliceCompositeNode(), synthetic(scenes)
    lose(slicer, layout, view)
    composite.SetScene(slicer.mrmlScene)
    composite.SetBackgroundVolumeID(made.GetID())
    composite.Modified()
    assert "ValueError" not in "".join(capfd.readouterr())


def test_a_view_that_comes_in_place_of_one_of_its_name_gets_a_mark(slicer, layout, scenes, annotations):
    lose(slicer, layout, layout.sliceWidget("Red"))
    lose(slicer, layout, layout.threeDWidget(0))
    views_again(slicer, layout)
    new = layout.sliceWidget("Red")
    assert marks_of(annotations, new) == [False] and marks_of(annotations, layout.threeDWidget(0)) == [False]
    slicer.util.setSliceViewerLayers(background=synthetic(scenes))
    assert marks_of(annotations, new) == [True]


def test_whatever_goes_wrong_with_the_marks_they_can_be_put_on_anew(layout, annotations, monkeypatch):
    def broken(_self):
        raise RuntimeError("no such view")

    marks = annotations.install()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(annotations.SyntheticMarks, "close", broken)
        annotations.uninstall()
    marks.close()
    view = layout.sliceWidget("Red")
    assert marks_of(annotations, view) == []
    annotations.install()
    assert marks_of(annotations, view) == [False]
