import pytest

pytest.importorskip("scipy")

from benchmarks import registration_report as report  # noqa: E402


def row(track="good", engine="lncc", low=0, tre=0.5, confidence=0.4, warnings="", **more):
    return {
        "track": track, "engine": engine, "low": low, "tre": tre, "confidence": confidence, "warnings": warnings,
        "cpu": 3.0, "wall": 2.0, "displacement": low + 1.0, "degrees": 5.0, **more,
    }  # fmt: skip


ROWS = [
    row(tre=0.2, confidence=0.3),
    row(tre=0.4, confidence=0.6),
    row(low=4, tre=1.0, confidence=1.1, warnings="Look."),
    row("poor", low=12, tre=30.0, confidence=9.0, warnings="Look."),
    row("poor", low=12, tre=5.0, confidence=3.0),
    row("poor", engine="mattes", low=12, tre=0.9, confidence=0.9),
]


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_errors_are_summed_up_for_each_fixed_volume_engine_and_range():
    lines = cells(report.errors(ROWS))[2:]
    assert [line[:4] for line in lines] == [
        ["good", "lncc", "0-4", "2"], ["good", "lncc", "4-8", "1"],
        ["poor", "lncc", "12-16", "2"], ["poor", "mattes", "12-16", "1"],
    ]  # fmt: skip
    assert lines[0][4:] == ["0.30", "0.30", "0.40", "100", "3.0", "2.0"]
    assert lines[2][4:8] == ["17.50", "17.50", "30.00", "0"]


def test_failures_and_false_alarms_are_counted():
    lines = {(line[0], line[1]): line[2:] for line in cells(report.trust(ROWS))[2:]}
    assert lines["lncc", "all"][3:] == ["1 of 2", "1 of 3"]
    assert float(lines["lncc", "all"][0]) > 0.9 and float(lines["lncc", "all"][1]) == 1
    assert lines["mattes", "poor"] == ["nan", "nan", "1.00", "0 of 0", "0 of 1"]


def test_real_pairs_say_what_became_of_the_start():
    pair = {"case": "Case2", "track": "model", "seen": "yes", "engine": "lncc", "moved": 1.0, "confidence": 2.0}
    (titles, _, line) = cells(report.pairs([{**pair, "before": 0.1, "after": 0.25, "again": 0.5, "warnings": ""}]))
    assert line == ["Case2", "model", "yes", "lncc", "1.00", "2.00", "0.100", "0.250", "0.50", "-"]
    assert titles[2] == "trained on the case"


def test_pictures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    report.plot_confidence(ROWS, tmp_path / "confidence.png")
    report.plot_capture(ROWS, tmp_path / "capture.png")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("confidence.png", "capture.png"))
