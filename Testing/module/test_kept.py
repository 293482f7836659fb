"""What was kept by another version, another person or another program: settings, parameters, the folder of models."""

import pytest

from .driving import choose_file


@pytest.mark.parametrize("key", ["model", "modelFile", "agreedLicences", "device", "workers", "registrationEngine"])
def test_a_setting_that_is_no_text_counts_as_none(panel, module, offer, monkeypatch, key):
    import qt

    from MMHVAESynthesisLib.app import consent
    from slicer_headless.modules import open_panel

    # As QSettings reads ``key=a, b`` of a file.
    qt.QSettings().setValue(f"MMHVAESynthesis/{key}", ["a", "b"])
    again = open_panel(module)
    assert (again.panel.options.model(), again.panel.options.device()) == ("mmhvae-fold0", "auto")
    assert again.ui.modelPath.currentPath == "" and again.panel.registration._engine() == "auto"
    assert consent._agreed() == []
    again.cleanup()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("samples", "100"),
        ("samples", "many"),
        ("samples", "1"),
        ("samples", "5.0"),
        ("seed", "-1"),
        ("temperature", "x"),
    ],
)
def test_a_number_of_a_scene_that_this_version_does_not_know_becomes_the_default(panel, module, name, kept):
    panel.exit()
    node = panel.logic.getParameterNode().parameterNode
    node.SetParameter("t2Target", "False")
    node.SetParameter(name, kept)
    # As after the scene was loaded.
    panel._parameters = None
    panel.enter()
    parameters = panel.logic.getParameterNode()
    assert (parameters.samples, parameters.seed, parameters.temperature) == (5, 0, 0.7)
    assert (panel.ui.samplesSpinBox.value, panel.ui.seedSpinBox.value) == (5, 0)
    assert panel.ui.temperatureSlider.value == 0.7 and panel.ui.t2Target.checked is False


def titles(panel):
    selector = panel.ui.modelSelector
    return [selector.itemText(index) for index in range(selector.count)]


def test_a_model_put_into_the_folder_by_hand_is_there_when_the_module_is_opened_again(panel, tmp_path, model_path):
    from pathlib import Path

    own = tmp_path / "own"
    own.mkdir()
    content = Path(model_path).read_bytes()
    (own / "CP_main_1000.pth").write_bytes(content)
    (own / "mine.pth").write_bytes(content)
    panel.exit()
    panel.enter()
    assert titles(panel) == ["mmhvae-fold0", "mine.pth", "From a file ..."]
    assert panel.ui.modelSelector.currentIndex == 0 and panel.ui.downloadButton.isHidden()
    panel.ui.modelSelector.currentIndex = 1
    (own / "mine.pth").unlink()
    panel.exit()
    panel.enter()
    assert panel.panel.options.model() == "mine.pth", "no other model in its stead without a word"
    # as in the next session
    panel.panel.options.reload_models()
    assert titles(panel)[0] == "mine.pth (not found)" and panel.panel.options.model() == "mine.pth"
    assert "mine.pth" in panel.panel.options.problem()
    (own / "mine.pth").write_bytes(content)
    panel.exit()
    panel.enter()
    assert "mine.pth" in titles(panel) and panel.panel.options.model() == "mine.pth"
    assert panel.panel.options.problem() == ""
    (own / "mine.pth").unlink()
    (own / "CP_main_1000.pth").unlink()
    choose_file(panel, model_path)
    panel.exit()
    panel.enter()
    assert titles(panel) == ["mmhvae-fold0 (not on this machine yet)", "From a file ..."]
    assert panel.panel.options.model() == model_path


def test_the_card_is_of_the_model_that_is_chosen_and_of_no_other(panel, offer, module):
    from slicer_headless.modules import open_panel

    from .conftest import BUNDLED

    offer([BUNDLED], "little")
    again = open_panel(module)
    again.ui.cardButton.checked = True
    assert "A little model" in again.ui.cardText.plainText
    choose_file(again, "")
    assert again.ui.cardText.plainText.startswith("Choose a model file")
    again.cleanup()
