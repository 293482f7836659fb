from dataclasses import astuple, replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.ultrasound import render, simulate
from MMHVAESynthesisLib.ultrasound.appearance import draw_appearance
from MMHVAESynthesisLib.ultrasound.beam import _compressed_highlights, _small_vessels
from MMHVAESynthesisLib.ultrasound.probe import SweepSettings, draw_probe
from MMHVAESynthesisLib.ultrasound.simulate import simulate_sweep
from MMHVAESynthesisLib.ultrasound.sweep import index_to_world
from MMHVAESynthesisLib.ultrasound.tissue import Levels, contrast_levels, tissue_from_mr, unseen_parts

SETTINGS = SweepSettings(depth=(50, 55), length=(28, 32), jitter=(0.2, 0.4))
TUMOUR_CENTRE = (38.0, 60.0, 66.0)


def ball(shape, centre, radius):
    k, j, i = np.indices(shape)
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2 <= radius**2


def head():
    """Return arrays of an ellipsoid brain with a ventricle and a tumour: t2, cet1, flair, label."""
    shape = (90, 110, 100)
    k, j, i = np.indices(shape)
    brain = ((i - 50) / 46) ** 2 + ((j - 55) / 51) ** 2 + ((k - 42) / 40) ** 2 <= 1
    rng = np.random.default_rng(0)
    texture = rng.normal(0, 4, shape)
    ventricle, tumour = ball(shape, (56, 55, 36), 12), ball(shape, TUMOUR_CENTRE, 11)
    t2 = np.where(ventricle, 900, np.where(tumour, 600, 300)) + texture
    flair = np.where(ventricle, 100, np.where(tumour, 700, 400)) + texture
    cet1 = np.where(ventricle, 120, np.where(tumour, 450, 400)) + texture
    label = np.where(tumour, 1, 0).astype(np.uint8)
    return {m: np.where(brain, a, 0).astype(np.int16) for m, a in (("t2", t2), ("cet1", cet1), ("flair", flair))}, label


def image(array, direction=None, origin=(0, 0, 0)):
    result = sitk.GetImageFromArray(array)
    result.SetOrigin(origin)
    if direction is not None:
        result.SetDirection(np.ravel(direction))
    return result


ARRAYS, LABEL = head()
OBLIQUE = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
LEFT_HANDED = np.diag([-1.0, 1.0, 1.0]) @ OBLIQUE


def clear_appearance(rng):
    flat = {"attenuation_db": (0.0, 0.0), "edge_shadows": (), "shadow": 0.0, "clutter": 0.0, "noise_db": (-40.0, -40.0)}
    return replace(draw_appearance(rng), tumour_db=9.0, speckle=0.4, texture=0.1, vessels=0.0, gamma=0.8, **flat)


def volumes(direction=None, origin=(0, 0, 0), modalities=("t2", "cet1", "flair")):
    return {m: image(ARRAYS[m], direction, origin) for m in modalities}, image(LABEL, direction, origin)


def test_a_sweep_repeats_with_its_seed_and_differs_with_another():
    contrasts, label = volumes()
    first, again, other = (simulate_sweep(contrasts, seed, label, 1.0, SETTINGS) for seed in (3, 3, 4))
    assert np.array_equal(sitk.GetArrayFromImage(first.us), sitk.GetArrayFromImage(again.us))
    assert first.pose == again.pose and first.appearance == again.appearance
    assert first.pose != other.pose and first.appearance != other.appearance


def test_mask_is_where_the_sweep_is_not_zero_and_grids_agree():
    contrasts, label = volumes()
    sweep = simulate_sweep(contrasts, 1, label, 1.0, SETTINGS)
    us, mask = sitk.GetArrayFromImage(sweep.us), sitk.GetArrayFromImage(sweep.mask)
    assert us.dtype == np.uint8
    assert np.array_equal(us > 0, mask == 1)
    assert 0.1 < mask.mean() < 0.7
    assert np.allclose(index_to_world(sweep.us), index_to_world(sweep.mask))
    assert np.allclose(sweep.us.GetSpacing(), 1.0)


def test_the_grid_of_a_sweep_is_right_handed_and_rigid():
    contrasts, label = volumes()
    sweep = simulate_sweep(contrasts, 2, label, 0.8, SETTINGS)
    direction = np.reshape(sweep.us.GetDirection(), (3, 3))
    assert np.allclose(direction @ direction.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(direction) == pytest.approx(1)
    assert np.allclose(sweep.us.GetSpacing(), 0.8)


def test_the_label_is_hit_and_without_one_the_probe_looks_down():
    contrasts, label = volumes()
    for seed in range(3):
        sweep = simulate_sweep(contrasts, seed, label, 1.0, SETTINGS)
        moved = sitk.Resample(label, sweep.us, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        seen = (sitk.GetArrayFromImage(moved) > 0) & (sitk.GetArrayFromImage(sweep.mask) > 0)
        assert seen.sum() > 0.5 * (LABEL > 0).sum()
        free = simulate_sweep(contrasts, seed, None, 1.0, SETTINGS)
        assert free.pose.direction[2] < 0
        assert np.linalg.norm(free.pose.entry - (50, 55, 42)) > 35


@pytest.mark.parametrize("direction", [None, OBLIQUE, LEFT_HANDED])
def test_the_tumour_lands_where_it_is_in_the_world(direction, monkeypatch):
    monkeypatch.setattr(simulate, "draw_appearance", clear_appearance)
    contrasts, label = volumes(direction, (12.0, -30.0, 7.0))
    sweep = simulate_sweep(contrasts, 5, label, 1.0, SETTINGS)
    us = sitk.GetArrayFromImage(sweep.us).astype(float)
    mask = sitk.GetArrayFromImage(sweep.mask) > 0

    def moved(part):
        source = image(part.astype(np.uint8), direction, (12.0, -30.0, 7.0))
        return (
            sitk.GetArrayFromImage(sitk.Resample(source, sweep.us, sitk.Transform(), sitk.sitkNearestNeighbor, 0)) > 0
        )

    tumour = moved(ball(LABEL.shape, TUMOUR_CENTRE, 7)) & mask
    ring = (
        moved(ball(LABEL.shape, TUMOUR_CENTRE, 16) & ~ball(LABEL.shape, TUMOUR_CENTRE, 11) & (ARRAYS["t2"] > 0)) & mask
    )
    depth = (np.indices(us.shape)[::-1].reshape(3, -1).T @ index_to_world(sweep.us)[:3, :3].T).reshape(us.shape + (3,))
    depth = (depth + index_to_world(sweep.us)[:3, 3] - sweep.pose.entry) @ sweep.pose.direction
    ring &= (depth > depth[tumour].min()) & (depth < depth[tumour].max())
    assert tumour.sum() > 300
    assert np.median(us[tumour]) > 1.25 * np.median(us[ring])


@pytest.mark.parametrize("modality", ["t2", "cet1", "flair"])
def test_one_contrast_is_enough(modality):
    contrasts, _ = volumes(modalities=(modality,))
    us = sitk.GetArrayFromImage(simulate_sweep(contrasts, 1, None, 1.5, SETTINGS).us)
    assert us[us > 0].std() > 2


@pytest.mark.parametrize("offset", [40, -40])
def test_a_background_that_is_not_0_changes_nothing(offset):
    contrasts, _ = volumes()
    moved = {m: sitk.Cast(contrast, sitk.sitkInt16) + offset for m, contrast in contrasts.items()}
    first, second = (simulate_sweep(given, 1, None, 1.5, SETTINGS) for given in (contrasts, moved))
    assert first.pose == second.pose
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(first.us).astype(float), sitk.GetArrayFromImage(second.us), atol=1
    )


def test_contrasts_on_different_grids_are_brought_together():
    contrasts, label = volumes()
    contrasts["flair"] = sitk.Resample(
        contrasts["flair"], (50, 55, 30), sitk.Transform(), sitk.sitkLinear, (0, 0, 0), (2, 2, 3)
    )
    us = sitk.GetArrayFromImage(simulate_sweep(contrasts, 1, label, 1.0, SETTINGS).us)
    assert (us > 0).any()


def test_what_cannot_be_used_is_said():
    contrasts, _ = volumes()
    empty = {"t2": image(np.zeros((20, 20, 20), np.int16))}
    for arguments in ((empty, 0), ({}, 0), (contrasts, 0, None, 0.0), (contrasts, -1), ({"us": contrasts["t2"]}, 0)):
        with pytest.raises(InputError):
            simulate_sweep(*arguments)
    broken = ARRAYS["t2"].astype(np.float32)
    broken[40, 50, 50] = np.nan
    with pytest.raises(InputError, match="finite"):
        simulate_sweep({"t2": image(broken)}, 0)


def test_beam_and_probe_coordinates_are_each_others_inverse():
    rng = np.random.default_rng(0)
    for _ in range(3):
        probe = draw_probe(rng)
        beam = (
            rng.uniform(-probe.length / 2, probe.length / 2, 50),
            rng.uniform(-probe.half_angle, probe.half_angle, 50),
            rng.uniform(0, probe.depth, 50),
        )
        back = probe.to_beam(*probe.from_beam(*beam))
        assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(beam, back))


def test_drawn_probes_stay_within_their_settings():
    rng = np.random.default_rng(0)
    settings = SweepSettings()
    for _ in range(20):
        probe = draw_probe(rng, settings)
        for name in ("depth", "opening", "radius", "length", "pivot"):
            low, high = getattr(settings, name)
            assert low <= getattr(probe, name) <= high


def test_drawn_appearances_are_sensible_and_vary():
    rng = np.random.default_rng(0)
    drawn = [draw_appearance(rng) for _ in range(50)]
    for looks in drawn:
        assert looks.tumour_db > looks.necrosis_db + 2 and looks.fluid_db < -10
        assert 0 < looks.speckle <= 1 and 0 < looks.gamma <= 1 and looks.black > 0 and looks.white_matter > 10
        assert looks.attenuation_db[0] == 0 and looks.band_mm >= 0 and 0 <= looks.grain < 0.1
    assert np.std([looks.white_matter for looks in drawn]) > 3
    assert 0 < sum(looks.band_mm == 0 for looks in drawn) < 25


def test_a_faint_sheet_is_a_sulcus_and_a_faint_ball_is_not():
    shape = (40, 40, 40)
    k, j, i = np.indices(shape)
    sheet, dot = np.abs(i - 12) <= 0.5, ball(shape, (29, 20, 20), 2)
    levels = {"t2": Levels(100.0, 300.0, 350.0, 900.0)}
    tissue = tissue_from_mr({"t2": np.where(sheet | dot, 430.0, 300.0).astype(np.float32)}, None, 1.0, levels)
    inner = (slice(10, 30),) * 2
    assert tissue.sulcus[inner][..., 12].min() > 0.3
    assert tissue.sulcus[20, 20, 29] < 0.5 * tissue.sulcus[20, 20, 12]


@pytest.mark.parametrize("spacing", [0.5, 1.0])
def test_a_wide_sulcus_is_a_line_along_its_middle(spacing):
    shape = (40, 40, 48)
    sheet = np.abs(np.indices(shape)[2] - 24) * spacing <= 1.5
    levels = {"t2": Levels(100.0, 300.0, 350.0, 900.0)}
    tissue = tissue_from_mr({"t2": np.where(sheet, 480.0, 300.0).astype(np.float32)}, None, spacing, levels)
    across = tissue.sulcus[20, 20]
    assert across.argmax() == 24 and across[24] > 0.6
    assert (across > 0.5 * across[24]).sum() * spacing < 0.5 * sheet[20, 20].sum() * spacing + 0.1


def test_highlights_are_bent_towards_the_brightest_and_keep_their_order():
    looks = replace(draw_appearance(np.random.default_rng(0)), knee=60.0, brightest=120.0)
    grey = np.linspace(0, 2000, 4001)
    bent = _compressed_highlights(grey, looks)
    assert np.array_equal(bent[grey <= 60], grey[grey <= 60])
    assert np.all(np.diff(bent) > -1e-9) and np.all(bent <= grey + 1e-9) and bent.max() == pytest.approx(120, abs=0.1)
    assert np.gradient(bent, grey)[125] == pytest.approx(1, abs=0.05)  # just above the knee: no kink


def test_the_edge_of_the_field_is_a_little_darker_and_has_the_darkest_voxels():
    contrasts, label = volumes()
    sweep = simulate_sweep(contrasts, 1, label, 1.0, SETTINGS)
    us, mask = sitk.GetArrayFromImage(sweep.us).astype(float), sitk.GetArrayFromImage(sweep.mask) > 0
    inner, further = ndimage.binary_erosion(mask), ndimage.binary_erosion(mask, iterations=2)
    edge, behind = mask & ~inner, inner & ~further
    assert us[edge].min() <= 3 < us[inner].min()
    assert 0.6 < us[edge].mean() / us[behind].mean() < 0.95


def test_grey_matter_and_lesions_have_more_vessels():
    looks = replace(draw_appearance(np.random.default_rng(0)), vessel_density=0.01)
    supply = np.zeros((40, 120, 120), np.float32)
    supply[:, 60:] = 0.7
    seen = _small_vessels(supply, looks, np.random.default_rng(1)) > 0
    assert seen[:, 60:].mean() > 2 * seen[:, :60].mean() > 0


def test_a_cyst_inside_a_labelled_lesion_is_fluid_and_its_solid_part_follows_flair():
    centre = TUMOUR_CENTRE
    cyst = ball(LABEL.shape, centre, 6)
    faint = ball(LABEL.shape, centre, 11) & ~cyst & (np.indices(LABEL.shape)[2] < centre[0])
    arrays = {modality: array.copy() for modality, array in ARRAYS.items()}
    for modality, value in (("t2", 900), ("flair", 100), ("cet1", 120)):
        arrays[modality][cyst] = value
    arrays["flair"][faint] = 400
    tissue = tissue_from_mr(arrays, LABEL, 1.0)
    middle = ball(LABEL.shape, centre, 3)
    solid = ball(LABEL.shape, centre, 10) & ~ball(LABEL.shape, centre, 8)
    assert tissue.fluid[middle].min() > 0.9 and tissue.tumour[middle].max() < 0.1
    assert tissue.fluid[solid].mean() < 0.2
    assert tissue.tumour[solid & faint].mean() < 0.8 * tissue.tumour[solid & ~faint].mean()
    whole = tissue_from_mr(ARRAYS, LABEL, 1.0)
    assert whole.fluid[middle].max() == 0 and whole.tumour[middle].min() > 0.9


def test_without_flair_a_labelled_lesion_is_never_fluid():
    tissue = tissue_from_mr({"t2": ARRAYS["t2"]}, LABEL, 1.0)
    assert tissue.fluid[LABEL > 0].max() == 0 and tissue.tumour[ball(LABEL.shape, TUMOUR_CENTRE, 6)].min() > 0.9


def test_a_slit_of_fluid_in_a_tumour_leaves_it_tumour_and_the_rim_of_a_cyst_is_no_choroid_plexus():
    slit = (np.abs(np.indices(LABEL.shape)[2] - TUMOUR_CENTRE[0]) <= 1) & (LABEL > 0)
    cyst = ball(LABEL.shape, TUMOUR_CENTRE, 6)
    label = np.where((LABEL > 0) & ~ball(LABEL.shape, TUMOUR_CENTRE, 8), 4, LABEL)
    for fluid, rim in ((slit, False), (cyst, True)):
        arrays = {modality: array.copy() for modality, array in ARRAYS.items()}
        for modality, value in (("t2", 900), ("flair", 100), ("cet1", 120)):
            arrays[modality][fluid] = value
        arrays["cet1"][label == 4] = 900
        tissue = tissue_from_mr(arrays, label if rim else LABEL, 1.0)
        if rim:
            assert tissue.enhancing[label == 4].mean() > 0.9 and tissue.choroid[label == 4].max() < 0.2
        else:
            inner = slit & ball(LABEL.shape, TUMOUR_CENTRE, 6)
            # The echo follows FLAIR down to 0.4, and no further.
            assert tissue.tumour[inner].min() > 0.3 and tissue.fluid[inner].max() < 0.25


def test_an_mr_of_one_slice_is_simulated_from_too():
    flat = {name: volume[:, :, 20:21] for name, volume in volumes()[0].items()}
    assert sitk.GetArrayFromImage(simulate_sweep(flat, 1, None, 1.0, SETTINGS).us).max() > 0


def normalised(array):
    """Return an MR whose mean in the brain is 0, its standard deviation 1, its background 0."""
    brain = array[array > 0]
    return np.where(array > 0, (array - brain.mean()) / brain.std(), 0).astype(np.float32)


@pytest.mark.parametrize("wrong", [lambda array: normalised(array), lambda array: array.astype(np.int16) - 1024])
def test_an_mr_with_values_below_zero_is_the_same_brain(wrong):
    contrasts, label = volumes(modalities=("t2",))
    shifted = {"t2": image(wrong(ARRAYS["t2"]))}
    plain, moved = (simulate_sweep(each, 3, label, 1.0, SETTINGS) for each in (contrasts, shifted))
    assert plain.pose == moved.pose
    first, second = (sitk.GetArrayFromImage(sweep.us).astype(float) for sweep in (plain, moved))
    field = sitk.GetArrayFromImage(plain.mask) > 0
    assert np.corrcoef(first[field], second[field])[0, 1] > 0.9


def test_the_grid_lies_over_the_largest_field_and_the_label_is_seen():
    contrasts, label = volumes(modalities=("t2", "flair"))
    contrasts["t2"] = contrasts["t2"][:, :, :50]
    sweep = simulate_sweep(contrasts, 1, label, 1.0, SETTINGS)
    moved = sitk.GetArrayFromImage(sitk.Resample(label, sweep.us, sitk.Transform(), sitk.sitkNearestNeighbor, 0)) > 0
    assert (moved & (sitk.GetArrayFromImage(sweep.mask) > 0)).sum() > 0.5 * (LABEL > 0).sum()


def test_fields_that_differ_by_rounding_are_one():
    contrasts, label = volumes(modalities=("t2", "flair"))
    plain = simulate_sweep(contrasts, 1, label, 1.0, SETTINGS)
    contrasts["flair"].SetSpacing((1 + 1e-6,) * 3)
    other = simulate_sweep(contrasts, 1, label, 1.0, SETTINGS)
    assert plain.pose == other.pose


def test_a_label_or_target_that_lies_elsewhere_is_refused():
    contrasts, label = volumes()
    elsewhere = image(LABEL, origin=(5000, 0, 0))
    for given in ({"label": elsewhere}, {"label": label, "target": elsewhere}):
        with pytest.raises(InputError, match="The label shows nothing where the MR lies"):
            simulate_sweep(contrasts, 1, settings=SETTINGS, **given)
    simulate_sweep(contrasts, 1, image(np.zeros_like(LABEL), origin=(5000, 0, 0)), 1.0, SETTINGS)


@pytest.mark.parametrize("mm", [1e-3, 1e3])
def test_a_spacing_in_other_units_is_said_before_any_grid_is_built(mm, monkeypatch):
    monkeypatch.setattr(simulate, "_grid_over", None)
    t2 = image(ARRAYS["t2"])
    t2.SetSpacing((mm,) * 3)
    with pytest.raises(InputError, match="The T2 volume is .* Correct the volume's spacing, which is in millimetres"):
        simulate_sweep({"t2": t2}, 1, None, 1.0, SETTINGS)


def test_a_sweep_made_in_parts_is_the_same(monkeypatch):
    contrasts, label = volumes()
    whole = simulate_sweep(contrasts, 3, label, 1.0, SETTINGS)
    monkeypatch.setattr(render, "_SLAB_VOXELS", 30_000)
    parts = simulate_sweep(contrasts, 3, label, 1.0, SETTINGS)
    for name in ("us", "mask"):
        np.testing.assert_array_equal(*(sitk.GetArrayFromImage(getattr(sweep, name)) for sweep in (whole, parts)))


TISSUES = ("inside", "fluid", "sulcus", "grey", "tumour", "oedema", "necrosis", "enhancing", "choroid")


@pytest.mark.parametrize("label", [None, LABEL])
@pytest.mark.parametrize("modalities", [("t2", "cet1", "flair"), ("cet1", "flair"), ("t2", "cet1"), ("flair",)])
def test_contrasts_that_show_the_same_voxels_all_count_everywhere(modalities, label):
    contrasts = {modality: ARRAYS[modality] for modality in modalities}
    assert unseen_parts(contrasts) == {}
    found, plain = (tissue_from_mr(contrasts, label, 1.0, unseen=unseen) for unseen in (None, {}))
    for name in TISSUES:
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


@pytest.mark.parametrize("label", [None, LABEL])
@pytest.mark.parametrize(
    ("modalities", "ending"),
    [(("t2", "cet1", "flair"), ("flair",)), (("cet1", "flair"), ("flair",)), (("t2", "cet1", "flair"), ("t2", "cet1"))],
)
def test_where_a_contrast_ends_the_others_decide_as_if_it_were_not_given(modalities, ending, label):
    contrasts = {modality: ARRAYS[modality].copy() for modality in modalities}
    levels = {modality: contrast_levels(array) for modality, array in contrasts.items()}
    others = {modality: array for modality, array in contrasts.items() if modality not in ending}
    whole, without = (tissue_from_mr(given, label, 1.0, levels) for given in (contrasts, others))
    for modality in ending:
        contrasts[modality][45:] = 0
    cut = tissue_from_mr(contrasts, label, 1.0, levels)
    for name in TISSUES:
        # What is smoothed reaches some way over the border.
        for part, like in ((slice(58, None), without), (slice(None, 32), whole)):
            if name == "sulcus" and part.start is None and "cet1" in ending:
                continue  # the edge of a contrast is the edge of the brain for what is dura
            found, expected = (getattr(tissue, name)[part] * cut.inside[part] for tissue in (cut, like))
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


def test_a_rim_that_one_contrast_lacks_is_no_fluid_and_a_hole_of_zeros_is():
    contrasts = {modality: ARRAYS[modality].copy() for modality in ("cet1", "flair")}
    hole = ball(LABEL.shape, (30, 60, 36), 8)
    contrasts["cet1"][hole], contrasts["flair"][hole] = 120, 0
    outer = np.argwhere(contrasts["flair"].any(axis=(1, 2)))[:, 0]
    rim = (contrasts["cet1"] > 0) & (np.indices(LABEL.shape)[0] > outer.max() - 12)
    contrasts["flair"][rim] = 0
    assert np.array_equal(unseen_parts(contrasts)["flair"], rim)
    tissue = tissue_from_mr(contrasts, None, 1.0)
    assert tissue.fluid[ball(LABEL.shape, (30, 60, 36), 6)].min() > 0.9
    assert tissue.fluid[rim].max() < 0.1


@pytest.mark.parametrize("unit", [1e-3, 1e-6, 1e4])
def test_the_unit_of_an_mr_does_not_change_what_is_tissue(unit):
    plain = {modality: ARRAYS[modality].astype(np.float32) for modality in ("t2", "cet1", "flair")}
    scaled = {modality: array * np.float32(unit) for modality, array in plain.items()}
    for modality, array in scaled.items():
        found, expected = (astuple(contrast_levels(each)) for each in (array, plain[modality]))
        np.testing.assert_allclose(found, np.multiply(expected, unit), rtol=1e-5)
    found, expected = (tissue_from_mr(each, LABEL, 1.0) for each in (scaled, plain))
    for name in TISSUES:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-3, err_msg=name)


@pytest.mark.parametrize("value", [1e-6, 1.0, 30000.0])
def test_levels_of_a_constant_contrast_differ_and_give_finite_tissue(value):
    flat = np.full((12, 12, 12), value, np.float32)
    levels = contrast_levels(flat)
    assert 0 < levels.low < levels.tissue < levels.high < 1.001 * levels.low
    tissue = tissue_from_mr({"t2": flat, "cet1": flat}, None, 1.0)
    assert all(np.isfinite(getattr(tissue, name)).all() for name in TISSUES)
