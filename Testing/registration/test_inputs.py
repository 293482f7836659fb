import re

import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.registration import engine, figures, transforms
from MMHVAESynthesisLib.registration.problem import prepare
from MMHVAESynthesisLib.request import RegistrationRequest

from . import phantom


def refused(match, fixed, moving, **settings):
    with pytest.raises(InputError, match=match) as caught:
        engine.register(RegistrationRequest({"t2": fixed}, {"t2": moving}, engine="mattes", **settings))
    return str(caught.value)


def filled(image, value, where=None):
    array = sitk.GetArrayFromImage(image)
    array[where if where is not None else ...] = value
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def moved_away(image, shift):
    away = sitk.Image(image)
    away.SetOrigin((np.array(image.GetOrigin()) + shift).tolist())
    return away


def test_no_overlap_says_how_far_apart(head, field):
    text = refused("do not overlap", field, moved_away(head, [300, 0, 0]))
    assert 295 < float(re.search(r"are (\d+) mm apart", text).group(1)) < 305
    assert "0 % of the field" in text and "Move the MR" in text


def test_no_overlap_through_mixed_up_coordinates_is_named(head, field):
    mixed = moved_away(head, [-2 * phantom.CENTRE[0] - 100, -2 * phantom.CENTRE[1], 0])
    fixed = moved_away(field, [100, 0, 0])
    assert "RAS to LPS" in refused("do not overlap", fixed, mixed)


@pytest.mark.parametrize(("sign", "said"), [(1, "leave it out"), (-1, "invert it")])
def test_no_overlap_through_a_wrong_initial_transform_is_named(head, field, sign, said):
    far = np.array([200.0, 30.0, 0.0])
    moving = head if sign == 1 else moved_away(head, -far)
    initial = sitk.TranslationTransform(3, far.tolist())
    assert said in refused("do not overlap", field, moving, initial=initial)


def test_little_overlap_is_a_warning(head, field):
    problem = prepare(RegistrationRequest({"t2": field}, {"t2": moved_away(head, [50, 0, 0])}))
    assert any("of the field of view lies inside" in warning for warning in problem.warnings)


def test_of_several_volumes_the_one_that_covers_least_is_spoken_of(head, field):
    for away in ("t2", "flair"):
        moving = {"t2": head, "flair": head + 1, away: moved_away(head, [50, 0, 0])}
        (warning,) = prepare(RegistrationRequest({"t2": field, "flair": field + 0}, moving)).warnings
        assert float(re.match(r"(\d+) % of the field of view lies inside", warning).group(1)) < 50


def test_empty_mask(head, field):
    refused("field of view is empty", field, head, us=filled(field, 0))


def test_a_mask_that_holds_no_numbers_is_refused(head, field):
    background = sitk.GetArrayFromImage(field) == 0
    refused("field of view contains voxels that are not numbers", field, head, us=filled(field, np.nan, background))
    both = sitk.RealAndImaginaryToComplex(field, field)
    refused("field of view holds complex numbers", field, head, us=both)


def test_a_mask_of_one_value_serves(head, field):
    mask = prepare(RegistrationRequest({"t2": field}, {"t2": head}, field * 0 + 1)).pyramid.level(1).mask[0]
    assert mask.all()


@pytest.mark.parametrize("given", ["mask", "synthetic MR"])
def test_the_field_of_view_is_where_an_image_is_above_0(head, field, given):
    unseen = sitk.GetArrayFromImage(field) == 0
    unseen[..., 26:] = True
    field, below = filled(field, 0, unseen), filled(field, -1, unseen)
    request = (
        RegistrationRequest({"t2": field}, {"t2": head}, below)
        if given == "mask"
        else RegistrationRequest({"t2": below}, {"t2": head})
    )
    plain = prepare(RegistrationRequest({"t2": field}, {"t2": head}))
    np.testing.assert_array_equal(prepare(request).pyramid.level(1).mask, plain.pyramid.level(1).mask)
    transform = sitk.TranslationTransform(3, (3.0, 4.0, 0.0))
    moved = sitk.GetArrayFromImage(figures.displacement(transform, below))
    np.testing.assert_array_equal(moved, sitk.GetArrayFromImage(figures.displacement(transform, field)))
    assert moved.min() == 0 and moved.max() == pytest.approx(5)


@pytest.mark.parametrize("times", [1000, 0.001], ids=["micrometres", "metres"])
@pytest.mark.parametrize("which", ["synthetic T2", "pre-operative T2", "field of view"])
def test_volumes_in_other_units_are_refused(head, field, times, which):
    images = {"synthetic T2": field, "pre-operative T2": head, "field of view": field + 0}
    images[which] = sitk.Image(images[which])
    images[which].SetSpacing([times] * 3)
    fixed, moving, mask = images.values()
    assert "spacing" in refused(f"{which} is .* mm wide", fixed, moving, us=mask)


@pytest.mark.parametrize("size", [(100, 60, 100), (50, 40, 96), (64, 64, 64), (12, 12, 12)])
def test_points_are_spread_over_the_whole_field_whatever_its_shape(size):
    fixed = sitk.Image(size, sitk.sitkFloat32) + 1
    fixed[0, 0, 0] = 2
    moving = sitk.Image(size, sitk.sitkFloat32) + 3
    moving[0, 0, 0] = 4
    problem = prepare(RegistrationRequest({"t2": fixed}, {"t2": moving}))
    level = problem.pyramid.level(1)
    field = level.fixed_points()[level.mask[0].ravel()]
    assert min(len(field), 1900) <= len(problem.points) <= 2000
    assert np.abs(problem.points.mean(axis=0) - field.mean(axis=0)).max() < 0.05 * max(size)
    np.testing.assert_allclose(problem.points.std(axis=0), field.std(axis=0), rtol=0.05)
    assert len(np.unique(problem.points, axis=0)) == len(problem.points)


def test_mask_that_misses_the_synthetic_volume(head, field):
    refused("same place", field, head, us=moved_away(field, [25, 26, 27]))


def test_thin_mask(head, field):
    mask = filled(field, 0, np.s_[4:])
    refused("mm thick", field, head, us=mask)


def test_same_volume_twice(head):
    refused("same volume", head, head)
    refused("same volume", head, sitk.Image(head) + 0)


def test_synthetic_mr_that_seems_made_from_the_mr_itself_is_warned_of(head):
    mr = phantom.field(head, size=(40, 38, 36))
    made = phantom.noisy(mr)

    def warned(fixed, moving):
        return any(
            "made from that MR itself" in w
            for w in prepare(RegistrationRequest({"t2": fixed}, {"t2": moving})).warnings
        )

    assert warned(made, mr)
    assert warned(filled(made, 0, np.s_[:1, :3, :12]), mr), "a voxel here or there may differ"
    shown_elsewhere = filled(made, 0, np.s_[:, 20:])
    assert not warned(shown_elsewhere, mr), "on one grid, but of another field of view"
    assert not warned(phantom.field(head, size=(30, 28, 26)), mr)
    # Volumes without any background have the same voxels in any case.
    assert not warned(filled(phantom.noisy(head), 500, np.s_[0, 0, 0]), head)


def test_a_synthetic_file_given_as_acquired_is_warned_of(head, field, tmp_path):
    sitk.WriteImage(head, str(tmp_path / "us_synthetic-T2.nrrd"))
    problem = prepare(RegistrationRequest({"t2": field}, {"t2": tmp_path / "us_synthetic-T2.nrrd"}))
    assert any("'us_synthetic-T2.nrrd' is itself synthetic" in warning for warning in problem.warnings)


def test_a_volume_that_is_called_as_another_contrast_is_warned_of(head, field, tmp_path):
    sitk.WriteImage(field, str(tmp_path / "us_synthetic-FLAIR.nrrd"))
    fixed, moving = {"t2": tmp_path / "us_synthetic-FLAIR.nrrd"}, {"t2": head}
    said = prepare(RegistrationRequest(fixed, moving, names={"t2": "Doe ceT1"})).warnings
    assert [warning for warning in said if "is it the right volume?" in warning] == [
        "The synthetic T2 ('us_synthetic-FLAIR.nrrd') looks like FLAIR by its name: is it the right volume?",
        "The pre-operative T2 ('Doe ceT1') looks like ceT1 by its name: is it the right volume?",
    ]
    for name in ("Doe", "T2 on FLAIR", "t2.nrrd"):
        said = prepare(RegistrationRequest({"t2": field}, moving, names={"t2": name})).warnings
        assert not any("looks like" in warning for warning in said)


@pytest.mark.parametrize(("name", "is_warned_of"), [("us_synthetic-T2.nrrd", True), ("Doe T2.nrrd", False)])
def test_a_synthetic_image_given_as_acquired_is_warned_of_by_its_name(head, field, name, is_warned_of):
    problem = prepare(RegistrationRequest({"t2": field}, {"t2": head}, names={"t2": name}))
    assert any(f"T2 '{name}' is itself synthetic" in warning for warning in problem.warnings) is is_warned_of


def test_same_file_twice():
    refused("same volume", "volume.nrrd", "./volume.nrrd")


def test_one_volume_for_two_contrasts():
    with pytest.raises(InputError, match="as pre-operative T2 and as pre-operative FLAIR: choose a different volume"):
        RegistrationRequest({"t2": "a.nrrd"}, {"t2": "b.nrrd", "flair": "./b.nrrd"})
    with pytest.raises(InputError, match="as synthetic T2 and as synthetic FLAIR: choose a different volume"):
        RegistrationRequest({"t2": "a.nrrd", "flair": "a.nrrd"}, {"t2": "b.nrrd"})
    with pytest.raises(InputError, match="as synthetic T2 and as pre-operative FLAIR: choose the MR"):
        RegistrationRequest({"t2": "a.nrrd"}, {"t2": "b.nrrd", "flair": "a.nrrd"})


def test_one_voxel_thick(head, field):
    refused("synthetic T2 is only 1 voxel thick", field[:, :, 5:6], head)
    refused("pre-operative T2 is only 1 voxel thick", field, head[:, 5:6, :])


def test_voxels_that_are_no_numbers(head, field):
    refused("pre-operative T2 .* not numbers", field, filled(head, np.nan, np.s_[3, 4, 5]))
    refused("synthetic T2 .* not numbers", filled(field, np.inf, np.s_[3, 4, 5]), head)


def test_empty_volumes(head, field):
    refused("synthetic T2 is empty", filled(field, 0), head)
    refused("pre-operative T2 is empty", field, filled(head, 0))


def test_synthetic_volume_that_is_flat_in_the_field(head, field):
    flat = filled(filled(field, 7), 9, np.s_[0, 0, 0])
    mask = filled(field, 0, np.s_[:2])
    refused("empty inside the field", flat, head, us=mask)


def test_pre_operative_volume_that_is_empty_around_the_field(head, field):
    far = np.zeros((200, 60, 60), dtype=np.float32)
    far[190:] = np.random.default_rng(0).normal(size=(10, 60, 60))
    moving = sitk.GetImageFromArray(far)
    moving.SetOrigin((phantom.CENTRE - 30).tolist())
    refused("pre-operative T2 is empty around", field, moving)


def test_colour_volume(head, field):
    refused("values a voxel", field, sitk.Compose(head, head))


def test_nonlinear_initial_transform(head, field):
    grid = sitk.DisplacementFieldTransform(sitk.Image([8, 8, 8], sitk.sitkVectorFloat64, 3))
    refused("not linear", field, head, initial=grid)
    refused("not linear", field, head, initial=sitk.CompositeTransform([sitk.Euler3DTransform(), grid]))


def test_initial_transform_that_cannot_be_inverted(head, field):
    flat = sitk.AffineTransform(3)
    flat.SetMatrix([1, 0, 0, 0, 1, 0, 0, 0, 0])
    refused("inverted", field, head, initial=flat)
    refused("not 3D", field, head, initial=sitk.Euler2DTransform())


@pytest.mark.parametrize("side", [1, -1])
def test_an_initial_transform_that_mirrors_is_warned_of(head, field, side):
    initial = sitk.AffineTransform(3)
    initial.SetMatrix([side, 0, 0, 0, 1, 0, 0, 0, 1])
    initial.SetCenter(phantom.CENTRE.tolist())
    said = prepare(RegistrationRequest({"t2": field}, {"t2": head}, initial=initial)).warnings
    assert [note for note in said if "mirrors the MR" in note] == said and len(said) == (side < 0)


def test_absent_files(head, field, tmp_path):
    refused("does not exist", tmp_path / "absent.nrrd", head)
    refused("does not exist", field, head, initial=tmp_path / "absent.h5")


def test_no_contrast_in_common(head, field):
    with pytest.raises(InputError, match="share no contrast"):
        RegistrationRequest({"t2": field}, {"flair": head})
    with pytest.raises(InputError, match="no synthetic MR"):
        RegistrationRequest({}, {"flair": head})
    with pytest.raises(InputError, match="no pre-operative MR"):
        RegistrationRequest({"t2": field}, {"flair": None})


@pytest.mark.parametrize(
    "setting", [{"kind": "bspline"}, {"starts": 0}, {"seed": -1}, {"seed": 1.5}, {"device": "tpu"}]
)
def test_settings_that_cannot_be_used(setting):
    with pytest.raises(InputError):
        RegistrationRequest({"t2": "a.nrrd"}, {"t2": "b.nrrd"}, **setting)


def test_integer_voxels_and_negative_values(head, field):
    integers = sitk.Cast(head, sitk.sitkInt16) - 1500
    problem = prepare(RegistrationRequest({"t2": sitk.Cast(field, sitk.sitkUInt16)}, {"t2": integers}))
    reference = prepare(RegistrationRequest({"t2": field}, {"t2": head}))
    assert np.allclose(problem.pyramid.level(4).moving, reference.pyramid.level(4).moving, atol=0.01)


def test_default_mask_is_the_fixed_volume_with_its_holes_filled(head, field):
    hole = filled(field, 0, np.s_[12:15, 12:15, 12:15])
    mask = prepare(RegistrationRequest({"t2": hole}, {"t2": head})).pyramid.level(1).mask[0]
    assert mask.sum() == (sitk.GetArrayViewFromImage(field) != 0).sum()


def test_large_fields_are_worked_on_coarser_grids(head):
    large = sitk.Image([40, 40, 40], sitk.sitkFloat32)
    large.SetSpacing([5.0] * 3)
    large.SetOrigin((phantom.CENTRE - 97.5).tolist())
    fixed = sitk.Resample(head, large, sitk.Transform(), sitk.sitkLinear, 1.0)
    level = prepare(RegistrationRequest({"t2": fixed}, {"t2": moved_away(head, [1, 0, 0])}, large == 0)).pyramid.level(
        1
    )
    assert level.spacing > 1 and level.fixed[0].size < 1.7e6


def test_initial_transforms_are_composed():
    turn, shift = sitk.Euler3DTransform(), sitk.TranslationTransform(3, (4.0, 5.0, 6.0))
    turn.SetRotation(0.1, 0.2, 0.3)
    both = sitk.CompositeTransform([turn, shift])
    point = np.array([7.0, -8.0, 9.0, 1.0])
    assert np.allclose((transforms.matrix_of(both) @ point)[:3], both.TransformPoint(point[:3].tolist()))
