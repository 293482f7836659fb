import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from app.test_guess import LISTINGS

from .conftest import BUNDLED, FETCHABLE
from .driving import apply, choose_file, finish, poll, settle
from .test_stand_ins import count_updates

UI = Path(__file__).parents[2] / "MMHVAESynthesis" / "Resources" / "UI" / "MMHVAESynthesis.ui"
SELECTORS = ["usSelector", "t2Selector", "cet1Selector", "flairSelector"]
OUTPUTS = ["usOutput", "t2Output", "cet1Output", "flairOutput"]
REGISTRATION = [f"{modality}{part}" for modality in ("t2", "cet1", "flair") for part in ("Synthetic", "Preop")]
REGISTRATION += ["fixedLandmarks", "movingLandmarks"]


def selectors(panel):
    return [getattr(panel.ui, name) for name in SELECTORS]


def test_apply_says_what_is_missing(panel, scenes, model_path, tmp_path):
    def missing():
        assert panel.ui.applyButton.enabled is panel.ui.previewButton.enabled is False
        assert panel.ui.applyButton.toolTip in panel.ui.statusLabel.text
        return panel.ui.statusLabel.text

    assert "Choose at least one input" in missing()
    panel.ui.flairSelector.setCurrentNode(scenes.volume("FLAIR"))
    assert "not on this machine yet" in missing()
    choose_file(panel, "")
    assert "Choose a model file" in missing()
    choose_file(panel, str(tmp_path / "nothing.pth"))
    assert "no such model file" in missing()
    (tmp_path / "picture.pth").write_bytes(b"\x89PNG" * 10)
    choose_file(panel, str(tmp_path / "picture.pth"))
    assert "is a PNG picture" in missing()
    choose_file(panel, model_path)
    assert panel.ui.applyButton.enabled is panel.ui.previewButton.enabled is True
    assert panel.ui.statusLabel.text == ""
    for name in ("t2Target", "cet1Target", "flairTarget"):
        panel.ui.__dict__[name].checked = False
    assert "No output is chosen" in missing()


def test_inputs_that_cannot_serve_are_told_at_the_selector_and_at_apply(ready, scenes, slicer):
    panel = ready
    node = panel.ui.usSelector.currentNode()
    panel.ui.t2Selector.setCurrentNode(node)
    assert "'Doe-US' is chosen as iUS, T2" in panel.ui.statusLabel.text
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    panel.ui.t2Selector.setCurrentNode(empty)
    for label in (panel.ui.t2State, panel.ui.statusLabel):
        assert "'Nothing' has no voxels" in label.text
    panel.ui.t2Selector.setCurrentNode(None)
    assert panel.ui.applyButton.enabled is True
    bend = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bend")
    node.SetAndObserveTransformNodeID(bend.GetID())
    panel.panel.update()
    assert "non-linear" in panel.ui.usState.text and panel.ui.applyButton.enabled is False


def test_outputs_that_cannot_serve_are_told(ready, scenes):
    panel = ready
    panel.ui.t2Output.setCurrentNode(panel.ui.usSelector.currentNode())
    assert "is an input of this run" in panel.ui.statusLabel.text
    other = scenes.volume("Mine")
    panel.ui.t2Output.setCurrentNode(other)
    assert panel.ui.applyButton.enabled is True
    panel.ui.cet1Output.setCurrentNode(other)
    assert "chosen twice" in panel.ui.statusLabel.text
    panel.ui.cet1Target.checked = False
    assert panel.ui.applyButton.enabled is True and panel.ui.cet1Output.enabled is False


def test_the_state_of_an_input_says_its_grid(panel, scenes):
    node = scenes.volume("Doe", shape=(5, 6, 7))
    panel.ui.usSelector.setCurrentNode(node)
    assert panel.ui.usState.text == "7 × 6 × 5 voxels of 0.7 × 1.1 × 2.9 mm"
    scenes.parent(node, scenes.rotation(10), "Tracker")
    panel.panel.update()
    assert panel.ui.usState.text.endswith(" · under 'Tracker'")


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
    panel.ui.uncertaintyCheckBox.checked = True
    panel.ui.samplesSpinBox.value = 9
    panel.ui.seedSpinBox.value = 77
    panel.ui.flairTarget.checked = False
    panel.ui.sharedNoiseCheckBox.checked = True
    panel.ui.allDirectionsCheckBox.checked = False
    slicer.util.saveScene(str(tmp_path / "case.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert panel.ui.usSelector.currentNode() is None and panel.ui.temperatureSlider.value == 0.7
    assert panel.ui.allDirectionsCheckBox.checked
    slicer.util.loadScene(str(tmp_path / "case.mrb"), {})
    panel.exit()
    panel.enter()
    assert panel.ui.usSelector.currentNode().GetName() == "US"
    assert panel.ui.temperatureSlider.value == 0.35
    assert panel.ui.uncertaintyCheckBox.checked and panel.ui.samplesSpinBox.enabled
    assert (panel.ui.samplesSpinBox.value, panel.ui.seedSpinBox.value) == (9, 77)
    assert panel.ui.sharedNoiseCheckBox.checked and not panel.ui.flairTarget.checked and panel.ui.t2Target.checked
    assert not panel.ui.allDirectionsCheckBox.checked


def test_model_device_and_threads_are_kept_in_the_settings(panel, module, tmp_path):
    from slicer_headless.modules import open_panel

    choose_file(panel, str(tmp_path / "m.pth"))
    panel.ui.deviceSelector.currentIndex = 1
    panel.ui.workersSpinBox.value = 3
    again = open_panel(module)
    assert again.panel.options.model() == str(tmp_path / "m.pth")
    assert again.panel.options.device() == "cpu" and again.panel.options.workers() == 3
    again.cleanup()


def test_a_closed_scene_empties_the_panel_and_a_new_one_fills_it(slicer, ready, scenes):
    slicer.mrmlScene.Clear(0)
    assert ready.ui.applyButton.enabled is False and ready.ui.usSelector.currentNode() is None
    ready.ui.usSelector.setCurrentNode(scenes.volume("Other"))
    assert ready.ui.applyButton.enabled is True


def test_what_can_move_along_is_of_this_scene_though_another_had_the_same_ids(slicer, panel, scenes):
    slicer.mrmlScene.Clear(0)
    panel.enter()
    former = scenes.volume("Former")
    panel.panel.update()
    panel.exit()
    panel.parent.isEntered = False
    slicer.mrmlScene.Clear(0)
    node = scenes.volume("Plan")
    assert node.GetID() == former.GetID()
    panel.enter()
    import qt

    items = panel.ui.alsoList
    assert [items.item(row).text() for row in range(items.count)] == ["Plan"]
    items.item(0).setCheckState(qt.Qt.Checked)
    node.SetName("Tracts")
    panel.panel.update()
    assert items.item(0).text() == "Tracts" and panel.panel.registration._checked() == [node]


def test_what_can_move_along_is_listed_as_it_is_loaded_renamed_and_removed(slicer, panel):
    def listed():
        settle()
        return [panel.ui.alsoList.item(row).text() for row in range(panel.ui.alsoList.count)]

    kinds = ("vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsCurveNode")
    nodes = [slicer.mrmlScene.AddNewNodeByClass(kind, kind[7:-4]) for kind in kinds]
    assert listed() == ["Segmentation", "Model", "MarkupsCurve"]
    nodes[1].SetName("Tracts")
    assert listed() == ["Segmentation", "Tracts", "MarkupsCurve"]
    slicer.mrmlScene.RemoveNode(nodes[0])
    assert listed() == ["Tracts", "MarkupsCurve"]


def test_a_change_of_the_scene_that_is_due_when_the_panel_is_left_does_no_harm(slicer, panel):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Tracts")
    panel.exit()
    settle()
    assert panel.ui.alsoList.count == 0


def test_a_model_is_downloaded_whatever_becomes_of_the_scene(slicer, panel, child):
    panel.ui.downloadButton.click()
    slicer.mrmlScene.Clear(0)
    assert child.process.deeds == [] and panel.ui.applyButton.text == "Cancel" and panel.ui.applyButton.enabled
    child.process.say(result={"path": "p", "said": "s"})
    child.process.code = 0
    poll(panel)
    assert "is here, and verified" in panel.ui.statusLabel.text and panel.ui.applyButton.text == "Apply"


def test_a_run_from_a_synthetic_input_says_so(ready, child):
    ready.ui.usSelector.currentNode().SetAttribute("MMHVAE.synthetic", "1")
    apply(ready)
    finish(ready, child, warnings=["Odd."])
    text = ready.ui.warningsLabel.text
    assert "Odd." in text and "'Doe-US' is itself synthetic" in text and not ready.ui.warningsLabel.isHidden()


def test_a_panel_that_was_left_does_not_follow_the_scene(panel, scenes):
    node = scenes.volume("US")
    panel.ui.usSelector.setCurrentNode(node)
    parameters = panel.logic.getParameterNode()
    panel.exit()
    panel.ui.temperatureSlider.value = 0.1
    panel.ui.usSelector.setCurrentNode(None)
    assert parameters.temperature == 0.7 and parameters.usVolume is node
    assert panel.Observations and not [each for each in panel.Observations if each[4] == panel.onParameterNodeModified]
    panel.enter()
    assert panel.ui.usSelector.currentNode() is node


def test_cleanup_leaves_no_observer(panel):
    panel.cleanup()
    assert panel.Observations == []


def test_cleanup_goes_all_the_way_over_widgets_that_are_gone(slicer, panel, child, scenes, monkeypatch):
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    landmarks = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    panel.ui.fixedLandmarks.setCurrentNode(landmarks)
    panel.panel.update()
    parameters, sections = panel._parameterNode, panel.panel
    assert sections.registration.Observations

    def gone(_tag):
        raise ValueError("Trying to call 'disconnect' on a destroyed QSpinBox object")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="destroyed"):
        patch.setattr(parameters, "disconnectGui", gone)
        panel.cleanup()
    assert panel.Observations == [] and panel.panel is None and sections.registration.Observations == []
    for act in (panel.enter, panel.exit, panel.cleanup):
        act()
    assert count_updates(parameters, monkeypatch) == 0


def test_views_that_cannot_be_marked_leave_a_panel_that_works(module, panel, monkeypatch):
    from slicer_headless.modules import new_widget

    def broken():
        raise RuntimeError("a view is gone")

    monkeypatch.setattr(module, "prepareViews", broken)
    widget = new_widget(module)
    with pytest.raises(RuntimeError, match="a view is gone"):
        widget.setup()
    assert widget._parameterNode is not None
    widget.cleanup()


def test_a_panel_whose_setup_failed_goes_away_without_another_error(module, monkeypatch):
    from MMHVAESynthesisLib.app import panel as panels
    from slicer_headless.modules import new_widget

    def broken(*_args):
        raise RuntimeError("half an install")

    monkeypatch.setattr(panels, "Panel", broken)
    widget = new_widget(module)
    with pytest.raises(RuntimeError, match="half an install"):
        widget.setup()
    widget.enter()
    widget.exit()
    widget.cleanup()
    assert widget.Observations == []


def test_a_removed_input_disables_apply(slicer, ready):
    assert ready.ui.applyButton.enabled is True
    slicer.mrmlScene.RemoveNode(ready.ui.usSelector.currentNode())
    assert ready.ui.applyButton.enabled is False


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
    assert served == mrml - {root.find("widget").get("name")} == set(SELECTORS + OUTPUTS + REGISTRATION)


def test_no_connection_is_listed_twice():
    root = ElementTree.parse(UI).getroot()
    every = [tuple(each.find(part).text for part in ("sender", "signal", "receiver", "slot"))
             for each in root.iter("connection")]  # fmt: skip
    assert len(every) == len(set(every))


def test_everything_that_can_be_worked_says_what_it_does(panel):
    root = ElementTree.parse(UI).getroot()
    told_by_code = {"applyButton"}
    shown_only = {"QLabel", "QWidget", "qMRMLWidget", "ctkCollapsibleButton", "QProgressBar", "QPlainTextEdit"}
    silent = {
        each.get("name")
        for each in root.iter("widget")
        if each.get("class") not in {*shown_only, "QTextBrowser"} and each.find("property[@name='toolTip']") is None
    }
    assert silent == told_by_code and panel.ui.applyButton.toolTip


def test_every_bound_widget_names_a_parameter(module):
    root = ElementTree.parse(UI).getroot()
    bound = [each.find("string").text for each in root.iter("property") if each.get("name") == "SlicerParameterName"]
    kinds = module.MMHVAESynthesisParameterNode._fields
    assert len(bound) == len(set(bound)) and set(bound) == set(kinds) - {"guessed", "inputsChosen"}


def test_the_code_uses_widgets_that_exist_and_no_widget_is_idle():
    root = ElementTree.parse(UI).getroot()
    widgets = {each.get("name") for each in root.iter("widget")}
    bound = {
        each.get("name")
        for each in root.iter("widget")
        if each.find("property[@name='SlicerParameterName']") is not None
    }
    library = UI.parents[2] / "MMHVAESynthesisLib" / "app"
    text = "".join(path.read_text(encoding="utf-8") for path in library.glob("*.py"))
    used = set(re.findall(r"ui\.(\w+)", text))
    assert used <= widgets, used - widgets
    computed = {
        f"{modality}{part}" for modality in ("us", "t2", "cet1", "flair") for part in ("State", "Output", "Target")
    }
    assert computed <= widgets
    active = {
        each.get("name")
        for each in root.iter("widget")
        if each.get("class") not in ("QLabel", "QWidget", "qMRMLWidget", "ctkCollapsibleButton")
    }
    assert active - used - bound - computed == set()


@pytest.mark.parametrize(("listing", "chosen", "unclear"), LISTINGS, ids=[str(i) for i in range(len(LISTINGS))])
def test_the_selectors_fill_themselves_from_what_is_loaded(slicer, panel, scenes, listing, chosen, unclear):
    panel.exit()
    for index, each in enumerate(listing):
        name, tags = each if isinstance(each, tuple) else (each, {})
        node = scenes.volume(name, seed=index)
        for keyword, value in tags.items():
            node.SetAttribute(f"DICOM.{keyword}", value)
    panel.enter()
    for modality in ("us", "t2", "cet1", "flair"):
        node = getattr(panel.ui, f"{modality}Selector").currentNode()
        assert (None if node is None else node.GetName()) == chosen.get(modality)
        state = getattr(panel.ui, f"{modality}State")
        assert state.text.startswith("Guessed, please check") if modality in chosen else state.isHidden()
    assert ("Several volumes look like" in panel.ui.guessState.text) is bool(unclear)


def test_with_a_bundled_model_an_input_is_all_that_apply_needs(panel, offer, module, scenes, child):
    from app.fakes import FakeStart
    from slicer_headless.modules import open_panel

    offer([BUNDLED, FETCHABLE], default="little")
    panel.cleanup()
    again = open_panel(module)
    again.panel._start = FakeStart()
    again.ui.usSelector.setCurrentNode(scenes.volume("US"))
    titles = [again.ui.modelSelector.itemText(index) for index in range(again.ui.modelSelector.count)]
    assert titles == ["Default: little", "little", "mmhvae-fold0 (not on this machine yet)", "From a file ..."]
    assert again.ui.applyButton.enabled is True and again.ui.downloadButton.isHidden()
    again.ui.cardButton.checked = True
    assert "A little model" in again.ui.cardText.plainText
    apply(again)
    assert not any(argument.startswith("--model") for argument in again.panel._start.calls[0])
    again.cleanup()
