"""The panel in Slicer's light and dark styles, and worked by keyboard."""

import re

import pytest

from .driving import apply, finish, poll

LEAST_CONTRAST = 4.5
"""Of text to what is behind it, as the Web Content Accessibility Guidelines (2.1, 1.4.3) measure and demand it."""


def luminance(colour):
    parts = [channel / 255 for channel in (colour.red(), colour.green(), colour.blue())]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(label, window):
    import qt

    colour = re.search(r"color:\s*(#\w+)", label.styleSheet)
    assert colour, "these words are coloured"
    lights = sorted(luminance(each) for each in (qt.QColor(colour[1]), window))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


@pytest.fixture
def styled(ready):
    """Gives the application a window of some grey, as Slicer's styles do."""
    import qt

    before = qt.QApplication.palette()

    def change(grey):
        palette = qt.QPalette(before)
        palette.setColor(qt.QPalette.Window, qt.QColor(grey, grey, grey))
        qt.QApplication.setPalette(palette)
        return palette.color(qt.QPalette.Window)

    yield change
    qt.QApplication.setPalette(before)


@pytest.mark.parametrize("grey", [255, 239, 53, 0])
def test_what_is_wrong_or_to_be_checked_is_legible_in_light_and_dark(slicer, ready, child, styled, grey):
    window = styled(grey)
    ready.ui.t2Selector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"))
    ready._parameters.guessed = "us"
    assert contrast(ready.ui.usState, window) >= LEAST_CONTRAST
    assert contrast(ready.ui.t2State, window) >= LEAST_CONTRAST
    ready.ui.t2Selector.setCurrentNode(None)
    apply(ready)
    child.process.say(stage="preparing", done=1, total=1, seconds_left=None, warnings=["It is dark."])
    poll(ready)
    assert contrast(ready.ui.warningsLabel, window) >= LEAST_CONTRAST
    child.process.code = 1
    poll(ready)
    assert contrast(ready.ui.statusLabel, window) >= LEAST_CONTRAST


def test_the_tab_key_leads_out_of_the_table_of_runs(slicer, ready, child):
    import qt
    from PySide6.QtTest import QTest

    for _ in range(2):
        apply(ready)
        finish(ready, child)
    table = ready.ui.runsTable
    ready.ui.resultsButton.collapsed = False
    ready.parent.show()
    ready.parent.activateWindow()
    table.setFocus()
    table.selectRow(0)
    for _ in range(3):
        QTest.keyClick(table, qt.Qt.Key_Tab)
    assert (table.currentRow(), table.currentColumn()) == (0, 0) and qt.QApplication.focusWidget() is not table


def test_the_log_shows_its_end_while_it_grows_and_stays_where_it_is_read(ready, child):
    ready.ui.logButton.checked = True
    apply(ready)
    bar = ready.ui.logText.verticalScrollBar()
    for number in range(2):
        child.process.errors += [f"line {number} {each}" for each in range(200)]
        poll(ready)
        assert bar.value == bar.maximum > 0
    bar.value = 7
    child.process.errors.append("one more")
    poll(ready)
    assert bar.value == 7 and "one more" in ready.ui.logText.plainText
    ready.panel.work.stop()
