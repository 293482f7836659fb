"""What a user changes in the scene while a run goes on, and volumes that are not what they are chosen as."""

import json

import numpy as np
import pytest

from MMHVAESynthesisLib.errors import InputError

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


@pytest.fixture
def begun(scene, scenes):
    """A synthesis of T2 from an ultrasound into a volume of the user's: that, and what ends the synthesis."""
    from MMHVAESynthesisLib.scene import work

    us, mine = scenes.volume("US"), scenes.volume("Mine")
    synthesis = work.prepare({"us": us}, ["t2"], {"t2": mine})
    return mine, lambda: synthesis.add(scenes.result({"us": us}, ("t2",)))


def test_a_volume_to_overwrite_that_was_filled_meanwhile_is_kept(slicer, scenes, begun):
    mine, end = begun
    slicer.util.updateVolumeFromArray(mine, np.full((4, 5, 6), 7, np.uint8))
    before = scenes.picture()
    with pytest.raises(InputError, match="'Mine', which was chosen for the T2, has changed.*nothing was added"):
        end()
    assert scenes.picture() == before and (slicer.util.arrayFromVolume(mine) == 7).all()


def test_a_volume_to_overwrite_that_was_registered_meanwhile_is_kept(registration, plan, scenes, made, pair, begun):
    mine, end = begun
    transform = registration.add(made.result(made.motion()), plan({"t2": pair[0]}, {"t2": pair[1]}, also=[mine]))
    before = scenes.picture()
    with pytest.raises(InputError, match="'Mine', lies under the registration"):
        end()
    assert scenes.picture() == before and mine.GetParentTransformNode() is transform


def test_a_volume_to_overwrite_that_is_as_it_was_is_overwritten(slicer, begun):
    mine, end = begun
    assert end() == {"t2": mine} and slicer.util.arrayFromVolume(mine).dtype == np.float32


@pytest.fixture
def with_map(scenes, outputs):
    """An ultrasound, T2 and ceT1 made from it, and the map of the T2's uncertainty."""
    from MMHVAESynthesisLib.scene import provenance

    us = scenes.volume("Doe-US")
    images = outputs.add(scenes.result({"us": us}, samples=3), {"us": us})
    return us, images["t2"], images["cet1"], provenance.uncertainty_node(images["t2"])


def test_a_map_is_no_input_and_is_not_registered(plan, scenes, with_map):
    from MMHVAESynthesisLib.scene import nodes, work

    us, t2, _, of_t2 = with_map
    with pytest.raises(InputError, match="uncertainty.* is a map .*choose an image"):
        work.prepare({"us": us, "t2": of_t2})
    with pytest.raises(InputError, match="is a map"):
        nodes.check(of_t2, "The T2")
    for fixed, moving, field in (
        (of_t2, scenes.volume("MR"), us),
        (t2, of_t2, us),
        (t2, scenes.volume("MR 2"), of_t2),
    ):
        with pytest.raises(InputError, match="is a map .*choose an image"):
            plan({"t2": fixed}, {"t2": moving}, field)


def test_volumes_that_are_not_what_they_are_chosen_as_are_told(plan, scenes, with_map):
    us, t2, cet1, _ = with_map
    mr = scenes.volume("Case1 T2")
    assert plan({"t2": t2}, {"t2": mr}, us).warnings == []
    (said,) = plan({"t2": cet1}, {"t2": mr}, us).warnings
    assert "is given as the synthetic T2, but was synthesised as ceT1" in said
    cet1.SetName("renamed T2")
    assert "synthesised as ceT1" in plan({"t2": cet1}, {"t2": mr}, us).warnings[0], "what is noted counts"
    said, other = plan({"t2": us}, {"t2": mr}).warnings
    assert "'Doe-US' is given as the synthetic T2, but was not made by this software" in said
    assert "'Doe-US' is given as T2 and looks like iUS" in other
    (said,) = plan({"t2": t2}, {"t2": scenes.volume("Case1 FLAIR")}, us).warnings
    assert "'Case1 FLAIR' is given as T2 and looks like FLAIR" in said


@pytest.fixture
def registering(plan, made, pair):
    """A registration at work, and what ends it."""
    from scene.registered import result

    field = np.random.default_rng(0).uniform(50, 200, (24, 24, 24)).astype(np.float32)
    synthetic, mr = made.volume_of(field_image(field), "US synthetic T2 (MMHVAE)"), pair[1]
    planned = plan({"t2": synthetic}, {"t2": mr})
    planned.request(engine="mattes", completion=False)
    return synthetic, mr, planned, result(made.motion())


def field_image(array):
    import SimpleITK as sitk

    return sitk.GetImageFromArray(array)


def test_voxels_that_changed_during_a_registration_are_told(slicer, registration, registering):
    synthetic, mr, planned, result = registering
    slicer.util.arrayFromVolume(mr)[:] = 0
    mr.GetImageData().Modified()
    (said,) = json.loads(registration.add(result, planned).GetAttribute("MMHVAE.warnings"))
    assert "The voxels of 'Case1 T2' have changed since the registration was begun" in said


def test_nothing_is_told_where_nothing_changed(registration, registering):
    _, _, planned, result = registering
    assert json.loads(registration.add(result, planned).GetAttribute("MMHVAE.warnings")) == []


def test_another_size_than_was_registered_is_refused(slicer, registration, made, registering):
    synthetic, _, planned, result = registering
    slicer.util.updateVolumeFromArray(synthetic, np.ones((3, 3, 3), np.float32))
    before = made.everything()
    with pytest.raises(InputError, match="has another size than when the registration was begun.*Nothing was moved"):
        registration.add(result, planned)
    assert made.everything() == before
