"""Selectors that fill themselves, and say that they did."""

from .driving import apply, finish


def test_guesses_are_shown_as_guesses_until_the_user_chooses(slicer, panel, scenes):
    us, t2 = scenes.volume("Case3-US-before"), scenes.volume("T2_BLADE")
    scenes.volume("something")
    panel.ui.guessButton.click()
    assert panel.ui.usSelector.currentNode() is us and panel.ui.t2Selector.currentNode() is t2
    assert panel.ui.usState.text.startswith("Guessed") and panel.ui.t2State.text.startswith("Guessed")
    panel.ui.t2Selector.setCurrentNode(None)
    panel.ui.t2Selector.setCurrentNode(t2)
    assert "Guessed" not in panel.ui.t2State.text and panel.ui.usState.text.startswith("Guessed")
    panel.exit()
    panel.enter()
    assert panel.ui.usState.text.startswith("Guessed") and "Guessed" not in panel.ui.t2State.text


def process_events():
    import qt

    for _ in range(3):
        qt.QCoreApplication.processEvents()


def test_what_is_loaded_while_the_panel_is_open_is_guessed_until_the_user_chooses(slicer, panel, scenes):
    us = scenes.volume("iUS")
    assert panel.ui.usSelector.currentNode() is None, "while it is still being loaded nothing is known of it"
    process_events()
    assert panel.ui.usSelector.currentNode() is us
    panel.ui.usSelector.setCurrentNode(None)
    scenes.volume("FLAIR")
    process_events()
    assert panel.ui.usSelector.currentNode() is panel.ui.flairSelector.currentNode() is None
    slicer.mrmlScene.Clear(0)
    t2 = scenes.volume("T2")
    process_events()
    assert panel.ui.t2Selector.currentNode() is t2
    panel.exit()
    slicer.mrmlScene.RemoveNode(t2)
    scenes.volume("FLAIR")
    process_events()
    assert panel.logic.getParameterNode().flairVolume is None, "a panel that is not open chooses nothing"


def test_several_volumes_that_speak_for_one_modality_are_not_guessed(panel, scenes):
    for name in ("US predura", "US postdura", "FLAIR"):
        scenes.volume(name)
    panel.exit()
    panel.enter()
    assert panel.ui.usSelector.currentNode() is None and panel.ui.flairSelector.currentNode().GetName() == "FLAIR"
    assert "US predura, US postdura" in panel.ui.guessState.text


def test_synthetic_and_chosen_volumes_are_never_guessed(slicer, panel, scenes, ready, child):
    apply(ready)
    finish(ready, child)
    slicer.mrmlScene.GetFirstNodeByName("Doe-US synthetic T2 (MMHVAE)").SetName("T2")
    mine = scenes.volume("ceT1")
    ready.ui.flairSelector.setCurrentNode(mine)
    ready.ui.guessButton.click()
    assert ready.ui.t2Selector.currentNode() is None and ready.ui.cet1Selector.currentNode() is None
    assert ready.ui.flairSelector.currentNode() is mine


def test_dicom_tags_speak(slicer, panel, scenes):
    node = scenes.volume("7: unnamed")
    node.SetAttribute("DICOM.Modality", "MR")
    node.SetAttribute("DICOM.SeriesDescription", "t2_space_dark-fluid_sag")
    other = scenes.volume("8")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(other), "DICOM.Modality", "US")
    panel.ui.guessButton.click()
    assert panel.ui.flairSelector.currentNode() is node and panel.ui.usSelector.currentNode() is other


def test_dicom_files_speak(slicer, panel, scenes, monkeypatch):
    class Database:
        isOpen = True  # noqa: N815

        def instanceValue(self, uid, tag):  # noqa: N802
            return (
                {"0008,0060": "MR", "0008,103E": "MPRAGE", "0018,0010": "Gadovist"}.get(tag, "") if uid == "1.2" else ""
            )

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = scenes.volume("9")
    node.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    panel.ui.guessButton.click()
    assert panel.ui.cet1Selector.currentNode() is node
