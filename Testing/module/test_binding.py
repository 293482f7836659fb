"""The panel and its parameter node: bound once, however often the module is opened."""

from .test_stand_ins import count_updates


def test_opening_the_module_again_and_again_leaves_nothing_behind(slicer, panel, monkeypatch):
    first = panel._parameterNode
    for _ in range(5):
        panel.exit()
        panel.enter()
    assert panel._parameterNode is first
    for _ in range(3):
        slicer.mrmlScene.Clear(0)
        slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.EndImportEvent)
    assert count_updates(panel._parameterNode, monkeypatch) == 1
    panel.exit()
    assert count_updates(panel.logic.getParameterNode(), monkeypatch) == 0


def test_widgets_and_parameters_follow_each_other_after_the_module_was_opened_again(panel):
    panel.exit()
    panel.ui.seedSpinBox.value = 5
    panel.enter()
    assert panel.ui.seedSpinBox.value == 0, "a panel that is not open chooses nothing"
    panel.ui.seedSpinBox.value = 7
    assert panel.logic.getParameterNode().seed == 7
    panel.logic.getParameterNode().seed = 8
    assert panel.ui.seedSpinBox.value == 8


def test_a_scene_that_was_closed_begins_with_the_defaults(slicer, panel):
    panel.ui.seedSpinBox.value = 7
    slicer.mrmlScene.Clear(0)
    assert panel.ui.seedSpinBox.value == 0 and panel.logic.getParameterNode().temperature == 0.7


def test_a_parameter_node_that_was_removed_is_replaced(slicer, panel):
    panel.exit()
    slicer.mrmlScene.RemoveNode(panel.logic.getParameterNode().parameterNode)
    panel.enter()
    panel.ui.seedSpinBox.value = 7
    assert panel.logic.getParameterNode().seed == 7
