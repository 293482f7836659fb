"""Slices across all three axes: what is drawn, what it is put together from, and when it is not done."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.models.checkpoint import save  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import preview, synthesize  # noqa: E402
from MMHVAESynthesisLib.synthesis.fusion import Fusion  # noqa: E402
from MMHVAESynthesisLib.volumes.files import same_geometry  # noqa: E402

from .making import array, fan, model_file  # noqa: E402

ORDERS = ((0, 1, 2), (1, 2, 0), (0, 2, 1))
CROPS = {"config": {"data": {"sampling": "crops"}}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def of_crops(model, tmp_path_factory):
    """Return a model whose header says that it was trained on crops of all directions."""
    loaded = load(model)
    path = tmp_path_factory.mktemp("crops") / "model.safetensors"
    save(path, dataclasses.replace(loaded.header, training=CROPS), loaded.network)
    return str(path)


def run(inputs, model, **settings):
    return synthesize(SynthesisRequest(inputs, model=model, device="cpu", **settings))


def across(inputs, order, **settings):
    """Return what slices across one axis alone give, [k, j, i] of the inputs, by turning them by hand."""
    made = run({name: sitk.PermuteAxes(image, list(order)) for name, image in inputs.items()}, directions=1, **settings)
    back = [order.index(axis) for axis in range(3)]
    return {target: array(sitk.PermuteAxes(each, back)) for target, each in made.images.items()}


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.4, 0.45, 0.3)])
def test_three_directions_are_the_mean_of_each_alone(model, spacing):
    us = fan(40, 40, spacing, origin=(3, 4, 5))
    us.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    fused = run({"us": us}, model, temperature=0, directions=3)
    singles = [across({"us": us}, order, model=model, temperature=0) for order in ORDERS]
    for target, image in fused.images.items():
        assert same_geometry(us, image, 1e-9) and array(image).dtype == np.float32
        each = np.stack([single[target] for single in singles])
        said = each > 0
        expected = each.sum(axis=0) / np.maximum(said.sum(axis=0), 1)
        np.testing.assert_allclose(array(image), expected, atol=1e-3)
        assert said.all(axis=0)[array(us) > 0].mean() > 0.9
        np.testing.assert_array_equal(array(image)[array(us) == 0], 0)
    assert fused.provenance["directions"] == 3


def test_other_directions_have_noise_of_their_own_and_the_stored_one_keeps_its(model):
    us = fan(32)
    one, three = (run({"us": us}, model, directions=number, seed=4) for number in (1, 3))
    again = run({"us": us}, model, directions=3, seed=4, workers=1)
    assert all(np.array_equal(array(three.images[t]), array(again.images[t])) for t in three.images)
    still = run({"us": us}, model, directions=1, seed=4, temperature=0)
    # Noise that is drawn three times is averaged: the mean lies nearer to the image without.
    calm = run({"us": us}, model, directions=3, seed=4, temperature=0)
    for target in one.images:
        single, fused = (
            np.abs(array(noisy.images[target]) - array(quiet.images[target]))[array(us) > 0].mean()
            for noisy, quiet in ((one, still), (three, calm))
        )
        assert fused < 0.8 * single


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (0.2, 0.1, 0.3)])
def test_inputs_are_turned_together(model, origin):
    us, t2 = fan(36, 40), fan(36, 40, seed=3, origin=origin)
    made = run({"us": us, "t2": t2}, model, temperature=0, directions=3)
    singles = [across({"us": us, "t2": t2}, order, model=model, temperature=0) for order in ORDERS]
    for target, image in made.images.items():
        each = np.stack([single[target] for single in singles])
        said = each > 0
        np.testing.assert_allclose(array(image), each.sum(axis=0) / np.maximum(said.sum(axis=0), 1), atol=1e-3)


def test_the_model_says_how_many_directions_unless_the_user_does(model, of_crops):
    us = fan(32)
    assert run({"us": us}, model, temperature=0).provenance["directions"] == 1
    assert run({"us": us}, of_crops, temperature=0).provenance["directions"] == 3
    assert run({"us": us}, of_crops, temperature=0, directions=1).provenance["directions"] == 1


def test_thick_slices_keep_to_their_own_and_say_so_to_who_asked_for_more(of_crops):
    thick = fan(32, spacing=(0.5, 0.5, 3.0))
    by_itself, asked = (run({"us": thick}, of_crops, temperature=0, directions=number) for number in (None, 3))
    assert by_itself.provenance["directions"] == asked.provenance["directions"] == 1
    assert not any("across its other axes" in warning for warning in by_itself.warnings)
    assert any("across its other axes" in warning for warning in asked.warnings)


def test_progress_counts_the_slices_of_all_directions_and_a_preview_shows_its_own(of_crops):
    us, reports = fan(32), []
    synthesize(SynthesisRequest({"us": us}, model=of_crops, device="cpu", temperature=0), reports.append)
    last = reports[-1]
    assert last.stage == "synthesis" and last.done == last.total
    occupied = array(us) > 0
    planes = [occupied.any(axis=tuple(a for a in range(3) if a != axis)).sum() for axis in range(3)]
    assert last.total == sum(planes)
    shown = preview(SynthesisRequest({"us": us}, model=of_crops, device="cpu", temperature=0, workers=1), 16)
    assert shown.seconds == pytest.approx(3 * planes[0] * shown.seconds_per_slice)
    alone = run({"us": us}, of_crops, temperature=0, directions=1)
    for target, image in shown.images.items():
        np.testing.assert_allclose(array(image)[0], array(alone.images[target])[16], atol=1e-3)


def test_the_spread_is_over_samples_and_directions(model):
    us = fan(32)
    made = run({"us": us}, model, samples=3, directions=3, targets=["t2"])
    still = run({"us": us}, model, samples=3, directions=3, targets=["t2"], temperature=0)
    singles = [across({"us": us}, order, model=model, temperature=0)["t2"] for order in ORDERS]
    everywhere = np.all([single > 0 for single in singles], axis=0)
    np.testing.assert_allclose(
        array(still.uncertainty["t2"])[everywhere], np.std(singles, axis=0, ddof=1)[everywhere], atol=1e-2
    )
    inside = array(us) > 0
    assert array(made.uncertainty["t2"])[inside].mean() > array(still.uncertainty["t2"])[inside].mean()
    assert same_geometry(us, made.uncertainty["t2"], 1e-9) and not array(made.uncertainty["t2"])[~inside].any()


def test_merged_statistics_are_those_of_all_images_together():
    generator = np.random.default_rng(0)
    drawn = generator.normal(100, 20, (3, 4, 5, 6, 7)).astype(np.float32)  # directions, samples, k, j, i
    covered = generator.random((3, 5, 6, 7)) > 0.3
    fusion = Fusion(4, spread=True)
    for images, where in zip(drawn, covered):
        fusion.see(where)
        for target in ("t2", "flair"):
            fusion.add(target, images.mean(axis=0), images.std(axis=0, ddof=1))
    mean, deviation = fusion.mean("t2"), fusion.deviation("t2")
    for place in np.ndindex(5, 6, 7):
        values = drawn[covered[(slice(None), *place)]][(slice(None), slice(None), *place)].ravel()
        if values.size:
            assert mean[place] == pytest.approx(values.mean(), rel=1e-5)
            assert deviation[place] == pytest.approx(values.std(ddof=1), rel=1e-4)
        else:
            assert mean[place] == deviation[place] == 0


def test_at_temperature_0_the_spread_is_said_to_be_that_of_the_directions_alone(model):
    us, settings = fan(40, 40, (0.5, 0.5, 0.5)), {"temperature": 0, "samples": 2}
    warnings = run({"us": us}, model, targets=("t2",), directions=3, **settings).warnings
    assert any("only how far the three directions of slices differ" in each for each in warnings)
    shown = preview(SynthesisRequest({"us": us}, model=model, device="cpu", directions=1, **settings))
    assert any("shows 0 everywhere" in each for each in shown.warnings)
