"""A model whose licence restricts the use shows it, and is used only by who agreed to it."""

import pytest

from .conftest import BUNDLED, FETCHABLE
from .driving import apply, choose_file, finish

THEIRS = {**BUNDLED, "licence": "Research only", "permissive": False, "sha256": "0" * 64}


@pytest.fixture
def asked(monkeypatch):
    """What the user was asked; ``asked.answers`` are given in turn, then True."""

    class Asked(list):
        answers = []

    asked = Asked()

    def ask(text, windowTitle=None, parent=None, **_):  # noqa: N803
        asked.append(text)
        return asked.answers.pop(0) if asked.answers else True

    monkeypatch.setattr("slicer.util.confirmOkCancelDisplay", ask)
    return asked


@pytest.fixture
def restricted(panel, offer, scenes, child, asked):
    """The panel with a bundled default model whose licence restricts the use, and an input."""
    offer([THEIRS, FETCHABLE], default="little")
    panel.panel.options.reload_models()
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    return panel


def test_the_first_apply_asks_and_a_refusal_starts_nothing(restricted, child, asked):
    assert restricted.ui.modelState.text == "Licence: Research only" and not restricted.ui.modelState.isHidden()
    asked.answers[:] = [False, True]
    restricted.ui.applyButton.click()
    restricted_by = "The model 'little' has a licence that restricts its use:\n\nResearch only\n\nUse it?"
    assert asked == [restricted_by] and child.calls == [] and restricted.ui.applyButton.text == "Apply"
    apply(restricted)
    finish(restricted, child)
    assert len(asked) == 2 and len(child.calls) == 1
    apply(restricted)
    finish(restricted, child)
    restricted.panel.repeat(restricted.panel.results.chosen())
    assert len(asked) == 2 and len(child.calls) == 3
    restricted.panel.work.stop()


def test_a_preview_and_a_repeat_ask_too(restricted, child, asked):
    asked.answers[:] = [False, True]
    restricted.ui.previewButton.click()
    assert len(asked) == 1 and child.calls == []
    apply(restricted)
    finish(restricted, child)
    import qt

    qt.QSettings().setValue("MMHVAESynthesis/agreedLicences", "")
    asked.answers[:] = [False]
    restricted.panel.repeat(restricted.panel.results.chosen())
    assert len(asked) == 3 and len(child.calls) == 1


def test_a_registration_asks_before_a_model_completes_it(restricted, child, asked, scenes):
    import qt

    apply(restricted)
    finish(restricted, child, model="little")
    scenes.volume("preop_T2w")
    restricted.ui.proposeButton.click()
    qt.QSettings().setValue("MMHVAESynthesis/agreedLicences", "")
    asked.clear()
    asked.answers[:] = [False]
    restricted.ui.registerButton.click()
    assert len(asked) == 1 and "Research only" in asked[0] and len(child.calls) == 1
    assert "Without 'Complete missing contrasts' it needs no model" in restricted.ui.statusLabel.text
    restricted.ui.completionCheckBox.checked = False
    restricted.ui.registerButton.click()
    restricted.panel.work.stop()
    assert len(asked) == 1 and len(child.calls) == 2 and "--no-completion" in child.calls[-1]
    restricted.ui.completionCheckBox.checked = True
    restricted.ui.engineSelector.currentIndex = 2
    restricted.ui.registerButton.click()
    restricted.panel.work.stop()
    assert len(asked) == 1 and len(child.calls) == 3, "Mattes completes nothing"
    restricted.ui.engineSelector.currentIndex = 0
    for _ in range(2):
        restricted.panel.update()
        restricted.ui.registerButton.click()
        restricted.panel.work.stop()
    assert len(asked) == 2 and len(child.calls) == 5, "who agreed is not asked again"


def test_who_agreed_is_asked_again_only_for_another_model_or_licence(restricted, asked, offer):
    from MMHVAESynthesisLib.app import consent

    def questions(**changes):
        offer([{**THEIRS, **changes}], default="little")
        before = len(asked)
        assert consent.agrees(None)
        return len(asked) - before

    assert questions() == 1 and questions() == questions(name="little", title="Renamed") == 0
    assert questions(licence="Another") == 1 and questions(sha256="1" * 64) == 1
    assert questions() == 0 and questions(licence="Anything", permissive=True) == 0
    restricted.panel.options.reload_models()
    restricted.panel.update()
    assert restricted.ui.modelState.isHidden()


def test_a_file_shows_the_licence_that_it_states(ready, child, asked, tmp_path, module):
    pytest.importorskip("torch", reason="not installed: torch")
    from pathlib import Path

    from MMHVAESynthesisLib.models import checkpoint, loading
    from MMHVAESynthesisLib.models.header import ModelHeader

    own = loading.load(module.MMHVAESynthesisTest().makeModel(str(tmp_path / "own.safetensors")))
    theirs = tmp_path / "theirs.safetensors"
    checkpoint.save(Path(theirs), ModelHeader("x", own.header.sizes, licence="CC BY-NC 4.0"), own.network)
    choose_file(ready, str(tmp_path / "own.safetensors"))
    assert ready.ui.modelState.isHidden()
    choose_file(ready, str(theirs))
    assert ready.ui.modelState.text == "Licence: CC BY-NC 4.0"
    ready.ui.cardButton.checked = True
    assert "CC BY-NC 4.0" in ready.ui.cardText.plainText
    asked.answers[:] = [False]
    ready.ui.applyButton.click()
    assert len(asked) == 1 and child.calls == []


def test_agreeing_to_download_is_agreeing_to_use(panel, offer, scenes, child, asked):
    offer([{**FETCHABLE, "permissive": False, "licence": "Not for sale", "git_blob_id": "0" * 40}])
    panel.panel.options.reload_models()
    asked.answers[:] = [False, True]
    panel.ui.downloadButton.click()
    assert "Not for sale" in asked[0] and child.calls == []
    panel.ui.downloadButton.click()
    assert "--accept-licence" in child.calls[0]
    panel.panel.work.stop()
    from MMHVAESynthesisLib.app import consent

    assert consent.agrees("mmhvae-fold0") and len(asked) == 2


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b"<html>please log in</html>"])
def test_a_damaged_file_of_a_model_can_be_downloaded_anew(panel, scenes, child, tmp_path, content):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "CP_main_1000.pth").write_bytes(content)
    panel.panel.options.reload_models()
    panel.ui.usSelector.setCurrentNode(scenes.volume("US"))
    assert not panel.ui.applyButton.enabled and not panel.ui.downloadButton.isHidden()
    assert panel.ui.modelState.text.endswith("The button Download this model does it.")
    panel.ui.downloadButton.click()
    assert child.calls[0][:3] == ["models", "download", "mmhvae-fold0"]
    panel.panel.work.stop()
