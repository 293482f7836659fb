import csv
import math

import numpy as np
import pytest

from MMHVAESynthesisLib.evaluation.cli import describe
from MMHVAESynthesisLib.evaluation.metrics import Perceptual
from MMHVAESynthesisLib.evaluation.table import Table, input_sets, violations
from MMHVAESynthesisLib.evaluation.verdicts import verdicts

pytest.importorskip("skimage", reason="scikit-image is not installed")


def table(**psnrs):
    """A table from ``us_t2="flair:20"``-like values: inputs joined by _, target and PSNR; SSIM is PSNR / 100."""
    made = Table()
    for inputs, values in psnrs.items():
        for value in values.split():
            target, psnr = value.split(":")
            key = tuple(inputs.split("_"))
            made.values[(key, target, "psnr")] = [float(psnr)]
            made.places[(key, target)] = [(0, 0)]
            made.values[(key, target, "ssim")] = [float(psnr) / 100]
    return made


def test_all_fifteen_sets_of_four_modalities():
    sets = input_sets(("us", "t2", "cet1", "flair"))
    assert len(sets) == len(set(sets)) == 15 and sets[0] == ("us",) and sets[-1] == ("us", "t2", "cet1", "flair")


def test_a_table_of_nothing_says_so_in_place_of_a_broken_one():
    assert Table().to_markdown() == "There was nothing to measure here.\n"
    assert table(us="t2:20").to_markdown().startswith("| inputs | T2 PSNR dB |")


def test_slices_with_an_empty_target_are_left_out():
    rng = np.random.default_rng(0)
    targets = rng.uniform(-1, 1, (3, 1, 16, 16)).astype(np.float32)
    targets[1] = -1
    made = Table()
    made.add(("us",), "t2", targets, targets, Perceptual())
    assert made.slices(("us",), "t2") == 2
    assert made.mean(("us",), "t2", "psnr") == 100 and made.mean(("us",), "t2", "ssim") == pytest.approx(1)
    assert math.isnan(made.mean(("us",), "flair", "psnr"))


def test_slices_whose_target_has_one_value_are_left_out():
    targets = np.random.default_rng(0).uniform(-1, 1, (3, 1, 16, 16)).astype(np.float32)
    targets[1] = 0.3
    made = Table()
    made.add(("us",), "t2", targets, np.zeros_like(targets), Perceptual())
    assert made.places[("us",), "t2"] == [(0, 0), (0, 2)]
    assert math.isfinite(made.mean(("us",), "t2", "psnr")) and math.isfinite(made.mean(("us",), "t2", "ssim"))


def test_csv_and_markdown_hold_every_set_and_the_mean(tmp_path):
    made = table(us="t2:20 flair:10", t2="t2:30 flair:12", us_t2="t2:31")
    made.write_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["inputs"], row["target"], float(row["psnr"])) for row in rows] == [
        ("us", "t2", 20), ("us", "flair", 10), ("t2", "t2", 30), ("t2", "flair", 12), ("us+t2", "t2", 31)
    ]  # fmt: skip
    lines = made.to_markdown().splitlines()
    assert lines[0] == "| inputs | T2 PSNR dB | T2 SSIM % | FLAIR PSNR dB | FLAIR SSIM % |"
    assert lines[2] == "| iUS | 20.0 | 20.0 | 10.0 | 10.0 |"
    assert lines[4] == "| iUS, T2 | 31.0 | 31.0 | - | - |"
    assert lines[5] == "| mean | 27.0 | 27.0 | 11.0 | 11.0 |"


def test_a_further_input_that_harms_is_found():
    made = table(us="t2:20", t2="t2:30", us_t2="t2:29.8", us_t2_flair="t2:29.75")
    two = {"fewer": "t2", "more": "us+t2+flair", "target": "t2", "loss_db": 0.25}
    assert violations(made, 0.1) == [two, {"fewer": "t2", "more": "us+t2", "target": "t2", "loss_db": 0.2}]
    assert violations(made, 0.25) == []


def test_more_inputs_are_judged_on_the_slices_that_both_have():
    made = table(t2="t2:30", us_t2="t2:31")
    # Another case without iUS, an easy one: it says nothing of what iUS adds.
    made.values[(("t2",), "t2", "psnr")].append(50.0)
    made.places[(("t2",), "t2")].append((1, 0))
    assert made.loss(("t2",), ("us", "t2"), "t2") == -1 and violations(made, 0.1) == []
    assert math.isnan(made.loss(("t2",), ("flair",), "t2"))


def test_verdicts_weigh_margin_and_ssim():
    heads = table(t2="flair:22 t2:40", flair="t2:20 flair:40")
    polynomial = table(t2="flair:20", flair="t2:19")
    sweeps = table(us="us:30 t2:20 flair:18", t2="t2:29.9 flair:22 us:20", flair="flair:31", us_flair="flair:30.93")
    depths = table(us="us:20 t2:18 flair:17")
    found = list(verdicts(sweeps, heads, {"training cases": polynomial}, {"sweep itself": depths}, sweeps).values())
    beats, depth, identity, more, absent = found
    assert beats["flair"]["met"] and beats["flair"]["psnr_gain_db"] == 2 and not beats["t2"]["met"]
    assert depth["t2"]["met"] and not depth["flair"]["met"] and "us" not in depth
    assert identity["us"]["met"] and not identity["t2"]["met"] and identity["flair"]["met"]
    assert more["met"] and more["worst_loss_db"] == pytest.approx(0.07)
    assert not absent["met"] and math.isnan(absent["worst_loss_db"]), "nothing was measured that was not given"
    heads.values[(("t2", "flair"), "t2", "psnr")], heads.places[(("t2", "flair"), "t2")] = [39.0], [(0, 0)]
    worse = list(verdicts(sweeps, heads, {"training cases": polynomial}, {"sweep itself": depths}, sweeps).values())[3]
    assert not worse["met"] and worse["worst_loss_db"] == pytest.approx(1.0), "heads count too"


def test_what_is_not_given_is_judged_by_itself():
    sweeps = table(us="us:39 flair:18", t2="t2:30 flair:22", us_t2="us:35 t2:29 flair:22.3 cet1:20")
    more, absent = list(verdicts(sweeps, Table(), {}, {}, sweeps).values())[-2:]
    assert not more["met"] and more["worst_loss_db"] == pytest.approx(4)
    assert absent["met"] and absent["worst_loss_db"] == pytest.approx(-0.3)


def test_a_goal_that_nothing_was_measured_of_is_neither_met_nor_missed():
    """A model of two modalities has no target that a further input leaves not given."""
    sweeps = table(us="us:39 t2:20", t2="t2:30 us:18", us_t2="us:38.95 t2:29.95")
    found = verdicts(sweeps, Table(), {}, {}, sweeps)
    more, absent = list(found.values())[-2:]
    assert more["met"] and absent["met"] is None
    said = describe({"verdicts": found, "folder": "figures"}).splitlines()
    assert said[-3].endswith(": met") and said[-2].endswith(": nothing to judge by")


def test_a_lower_ssim_fails_in_spite_of_the_margin():
    heads, polynomial = table(t2="flair:22", flair="t2:22"), table(t2="flair:20", flair="t2:20")
    heads.values[(("t2",), "flair", "ssim")] = [0.1]
    found = next(iter(verdicts(Table(), heads, {"x": polynomial}, {}, Table()).values()))
    assert not found["flair"]["met"] and found["t2"]["met"]


def test_a_table_of_some_samples():
    made = Table()
    images = np.random.default_rng(0).uniform(-0.9, 0.9, (4, 2, 1, 16, 16)).astype(np.float32)
    for sample in (0, 1):
        made.add(("us",), "t2", images[2 * sample], images[2 * sample + 1], Perceptual(), sample)
    first, both = made.only({0}), made.only({0, 1})
    assert first.slices(("us",), "t2") == 2 and both == made
    values = made.values[("us",), "t2", "psnr"]
    assert first.mean(("us",), "t2", "psnr") == pytest.approx(np.mean(values[:2]))
    assert made.only(set()).rows == []
