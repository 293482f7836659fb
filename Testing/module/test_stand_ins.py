"""The stand-ins behave as Slicer does where a test would otherwise pass what fails in Slicer."""

from pathlib import Path

import numpy as np
import pytest

UI = Path(__file__).parents[2] / "MMHVAESynthesis" / "Resources" / "UI" / "MMHVAESynthesis.ui"


@pytest.fixture
def qt(panel):
    import qt

    return qt


def load(slicer, tmp_path, old, new):
    """Load the module's .ui with one text replaced."""
    text = UI.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.ui"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return slicer.util.loadUI(str(path))


def test_qt_properties_are_attributes_and_not_methods(qt):
    button = qt.QPushButton("Go")
    assert button.text == "Go" and button.enabled is True
    button.enabled = False
    assert button.isEnabled() is False
    button.name = "go"
    assert button.objectName == "go"
    with pytest.raises(TypeError):
        button.text()


def test_an_unknown_signal_is_refused(qt):
    with pytest.raises(AttributeError, match="has no signal clickd"):
        qt.QPushButton().connect("clickd(bool)", print)


def test_a_connected_function_is_called_until_it_is_disconnected(qt):
    button, calls = qt.QPushButton(), []

    def on_clicked(checked):
        calls.append(checked)

    button.connect("clicked(bool)", on_clicked)
    button.click()
    button.disconnect("clicked(bool)", on_clicked)
    button.click()
    assert calls == [False]


def test_a_folded_section_keeps_what_was_hidden_in_it(qt):
    import ctk

    button = ctk.ctkCollapsibleButton()
    shown, hidden, never = (qt.QLabel(text, button) for text in ("a", "b", "c"))
    never.setVisible(False)
    hidden.setVisible(False)
    button.collapsed = True
    assert shown.isHidden() and hidden.isHidden()
    hidden.setVisible(True)
    assert hidden.isHidden()
    button.collapsed = False
    assert not shown.isHidden() and not hidden.isHidden() and never.isHidden()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('class="ctkSliderWidget" name', 'class="ctkSlidrWidget" name', "ctkSlidrWidget"),
        ('<property name="noneDisplay">', '<property name="noneDisplayed">', "no property noneDisplayed"),
        ('<property name="wordWrap">', '<property name="wordWrapped">', "no property wordWrapped"),
        ("<receiver>t2Selector<", "<receiver>t1Selector<", "t1Selector"),
        ("<slot>setMRMLScene(", "<slot>setScene(", "no slot setScene"),
    ],
)
def test_a_wrong_ui_file_is_refused(slicer, qt, tmp_path, old, new, sentence):
    from slicer_headless.pythonqt.loader import UiError

    with pytest.raises(UiError, match=sentence):
        load(slicer, tmp_path, old, new)


def test_a_forgotten_scene_connection_leaves_the_selector_empty(slicer, qt, tmp_path):
    slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="A")
    widget = load(slicer, tmp_path, "<receiver>t2Selector<", "<receiver>usSelector<")
    widget.setMRMLScene(slicer.mrmlScene)
    ui = slicer.util.childWidgetVariables(widget)
    assert ui.t2Selector.nodeCount() == 0 and ui.cet1Selector.nodeCount() == 1


def test_a_selector_whose_node_leaves_the_scene_takes_the_row_before_it_as_chosen(slicer, scene, qt):
    selector, told = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes, selector.noneEnabled = ("vtkMRMLScalarVolumeNode",), True
    selector.setMRMLScene(scene)
    first, second, third = (slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name=name) for name in "ABC")
    selector.setCurrentNode(second)
    selector.connect("currentNodeChanged(vtkMRMLNode*)", told.append)
    scene.RemoveNode(third)
    assert selector.currentNode() is second and told == []
    scene.RemoveNode(second)
    assert selector.currentNode() is first and told == [first]
    scene.RemoveNode(first)
    assert selector.currentNode() is None and told == [first, None]


def count_updates(wrapper, monkeypatch):
    """Return how often a change of the parameter node makes wrappers write to the widgets that are bound."""
    calls = []
    monkeypatch.setattr(type(wrapper), "_update", lambda self: calls.append(self))
    wrapper.parameterNode.Modified()
    return len(calls)


def test_a_wrapper_goes_on_observing_its_node_after_its_widgets_were_let_go_of(panel, monkeypatch):
    panel.setParameterNode(None)
    wrapper, tags = panel.logic.getParameterNode(), []
    observe = wrapper.AddObserver
    wrapper.AddObserver = lambda *given: tags.append(observe(*given))
    wrapper.disconnectGui(wrapper.connectParametersToGui(panel.boundWidgets()))
    assert count_updates(wrapper, monkeypatch) == 1
    # Python takes the wrapper for garbage once nothing else knows it, but the node would still call it.
    wrapper.RemoveObserver(tags[0])


def test_parameters_refuse_what_they_are_not(panel, slicer):
    wrapper = panel.logic.getParameterNode()
    with pytest.raises(ValueError, match="not within"):
        wrapper.temperature = 1.5
    with pytest.raises(TypeError):
        wrapper.usVolume = "US"


def test_hierarchy_items_come_and_go_with_their_nodes(slicer, scene):
    hierarchy = scene.GetSubjectHierarchyNode()
    node = slicer.util.addVolumeFromArray(np.zeros((2, 2, 2)), name="A")
    item = hierarchy.GetItemByDataNode(node)
    assert item and hierarchy.GetItemName(item) == "A"
    scene.RemoveNode(node)
    assert hierarchy.GetItemName(item) == ""


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha"])
def test_volumes_go_to_files_and_back(slicer, scene, tmp_path, ending):
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    node = slicer.util.addVolumeFromArray(array, np.diag([-1.0, -2.0, 3.0, 1.0]), "A")
    path = str(tmp_path / f"a{ending}")
    assert slicer.util.saveNode(node, path, {})
    again = slicer.util.loadVolume(path, {})
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), array)
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"), {})
