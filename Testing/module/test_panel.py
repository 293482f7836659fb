import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

UI = Path(__file__).parents[2] / "MMHVAESynthesis" / "Resources" / "UI" / "MMHVAESynthesis.ui"
SELECTORS = ["usSelector", "t2Selector", "cet1Selector", "flairSelector"]


@pytest.fixture
def scenes(scene):
    from scene import scenes

    return scenes


def selectors(panel):
    return [getattr(panel.ui, name) for name in SELECTORS]


def test_apply_waits_for_an_input_and_says_so(panel, scenes):
    assert panel.ui.applyButton.enabled is False
    assert "Choose at least one input" in panel.ui.applyButton.toolTip
    panel.ui.flairSelector.setCurrentNode(scenes.volume("FLAIR"))
    assert panel.ui.applyButton.enabled is True
    assert "Choose" not in panel.ui.applyButton.toolTip
    panel.ui.flairSelector.setCurrentNode(None)
    assert panel.ui.applyButton.enabled is False


def test_apply_waits_for_a_model_file_that_exists(panel, scenes, tmp_path):
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    panel.ui.modelPath.currentPath = str(tmp_path / "nothing.pth")
    assert panel.ui.applyButton.enabled is False
    assert "no such model file" in panel.ui.applyButton.toolTip
    (tmp_path / "nothing.pth").write_bytes(b"x")
    panel.ui.modelPath.currentPath = ""
    panel.ui.modelPath.currentPath = str(tmp_path / "nothing.pth")
    assert panel.ui.applyButton.enabled is True


def test_the_selectors_offer_scalar_volumes_and_none(slicer, panel, scenes):
    volume = scenes.volume("A")
    for class_name in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode", "vtkMRMLModelNode"):
        slicer.mrmlScene.AddNewNodeByClass(class_name)
    for selector in selectors(panel):
        assert selector.nodeCount() == 1 and selector.nodeFromIndex(0) is volume
        assert selector.noneEnabled and selector.currentNode() is None


def test_the_choices_are_kept_in_the_scene(slicer, panel, scenes, module, tmp_path):
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    panel.ui.temperatureSlider.value = 0.35
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert panel.ui.usSelector.currentNode() is None and panel.ui.temperatureSlider.value == 0.7
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    panel.exit()
    panel.enter()
    assert panel.ui.usSelector.currentNode().GetName() == "US"
    assert panel.ui.temperatureSlider.value == 0.35


def test_the_model_file_is_kept_in_the_settings(panel, module, tmp_path):
    from slicer_headless.modules import open_panel

    panel.ui.modelPath.currentPath = str(tmp_path / "m.pth")
    again = open_panel(module)
    assert again.ui.modelPath.currentPath == str(tmp_path / "m.pth")
    again.cleanup()


def test_a_closed_scene_empties_the_panel_and_a_new_one_fills_it(slicer, panel, scenes):
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    slicer.mrmlScene.Clear(0)
    assert panel.ui.applyButton.enabled is False
    panel.ui.usSelector.setCurrentNode(scenes.volume("US 2"))
    assert panel.ui.applyButton.enabled is True


def test_a_panel_that_was_left_does_not_follow_the_scene(panel, scenes):
    node = scenes.volume("US")
    panel.ui.usSelector.setCurrentNode(node)
    parameters = panel.logic.getParameterNode()
    panel.exit()
    panel.ui.temperatureSlider.value = 0.1
    panel.ui.usSelector.setCurrentNode(None)
    assert parameters.temperature == 0.7 and parameters.usVolume is node
    assert panel.Observations and not [each for each in panel.Observations if each[4] == panel.updateApplyButton]
    panel.enter()
    assert panel.ui.usSelector.currentNode() is node


def test_cleanup_leaves_no_observer(panel):
    panel.cleanup()
    assert panel.Observations == []


def test_a_removed_input_disables_apply(slicer, panel, scenes):
    node = scenes.volume("US")
    panel.ui.usSelector.setCurrentNode(node)
    slicer.mrmlScene.RemoveNode(node)
    assert panel.ui.applyButton.enabled is False


def test_apply_calls_the_logic_with_what_is_chosen(slicer, panel, scenes, monkeypatch, tmp_path):
    from MMHVAESynthesisLib.synthesis import engine

    requests = []

    def synthesize(request, progress=None, cancel=None):
        requests.append(request)
        assert slicer.app.cursors, "a wait cursor shows that Slicer is at work"
        return scenes.result({"us": us}, ("t2",))

    monkeypatch.setattr(engine, "synthesize", synthesize)
    us = scenes.volume("US")
    (tmp_path / "m.pth").write_bytes(b"x")
    panel.ui.usSelector.setCurrentNode(us)
    panel.ui.modelPath.currentPath = str(tmp_path / "m.pth")
    panel.ui.temperatureSlider.value = 0.25
    panel.ui.applyButton.click()
    (request,) = requests
    assert list(request.inputs) == ["us"] and request.model == str(tmp_path / "m.pth") and request.temperature == 0.25
    assert slicer.mrmlScene.GetFirstNodeByName("US synthetic T2 (MMHVAE)") is not None
    assert slicer.app.cursors == []


def test_an_error_reaches_the_user_and_apply_works_again(slicer, panel, scenes, monkeypatch):
    from MMHVAESynthesisLib.errors import ModelError
    from MMHVAESynthesisLib.synthesis import engine

    def synthesize(*_):
        raise ModelError("There is no model.")

    monkeypatch.setattr(engine, "synthesize", synthesize)
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    before = scenes.picture()
    with pytest.raises(ModelError):
        panel.onApplyButton()
    shown = []
    monkeypatch.setattr(slicer.app, "testingEnabled", lambda: False)
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: shown.append(text))
    with pytest.raises(ModelError):
        panel.onApplyButton()
    assert shown == ["The synthesis did not succeed.\n\nThere is no model."]
    assert scenes.picture() == before and slicer.app.cursors == []
    assert panel.ui.applyButton.enabled is True


def test_every_mrml_widget_of_the_ui_gets_the_scene(panel):
    root = ElementTree.parse(UI).getroot()
    mrml = {each.get("name") for each in root.iter("widget") if each.get("class").startswith("qMRML")}
    served = {
        each.find("receiver").text
        for each in root.iter("connection")
        if each.find("signal").text == "mrmlSceneChanged(vtkMRMLScene*)"
        and each.find("slot").text == "setMRMLScene(vtkMRMLScene*)"
        and each.find("sender").text == root.find("widget").get("name")
    }
    assert served == mrml - {root.find("widget").get("name")} == set(SELECTORS)


def test_every_bound_widget_names_a_parameter(module):
    root = ElementTree.parse(UI).getroot()
    bound = [each.find("string").text for each in root.iter("property") if each.get("name") == "SlicerParameterName"]
    assert sorted(bound) == ["cet1Volume", "flairVolume", "t2Volume", "temperature", "usVolume"]
    assert all(isinstance(getattr(module.MMHVAESynthesisParameterNode, name), property) for name in bound)
