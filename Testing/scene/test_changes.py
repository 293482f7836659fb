"""What a user changes in the scene while a run goes on, and volumes that are not what they are chosen as."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

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


def test_a_blank_volume_to_overwrite_that_has_another_size_now_is_kept(slicer, scenes):
    from MMHVAESynthesisLib.scene import work

    us, mine = scenes.volume("US"), scenes.volume("Mine")
    slicer.util.updateVolumeFromArray(mine, np.zeros((4, 4, 4), np.uint8))
    synthesis = work.prepare({"us": us}, ["t2"], {"t2": mine})
    slicer.util.updateVolumeFromArray(mine, np.zeros((2, 4, 8), np.uint8))
    with pytest.raises(InputError, match="has changed.*nothing was added"):
        synthesis.add(scenes.result({"us": us}, ("t2",)))


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
    field = np.random.default_rng(0).uniform(50, 200, (24, 24, 24)).astype(np.float32)
    synthetic, mr = made.volume_of(sitk.GetImageFromArray(field), "US synthetic T2 (MMHVAE)"), pair[1]
    planned = plan({"t2": synthetic}, {"t2": mr})
    planned.request(engine="mattes", completion=False)
    return synthetic, mr, planned, made.result(made.motion())


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


@pytest.fixture
def sweep(slicer, scenes):
    """A sequence of two frames in the scene, and its browser, which shows the first as a volume."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Sweep")
    for index in range(2):
        frame = scenes.volume(f"Frame {index}", seed=index)
        sequence.SetDataNodeAtValue(frame, str(index))
        slicer.mrmlScene.RemoveNode(frame)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return sequence, browser


def shown_by(slicer, browser, frame=None):
    if frame is not None:
        browser.SetSelectedItemNumber(frame)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(browser.GetMasterSequenceNode())


def test_a_frame_inside_a_sequence_is_refused_whose_id_is_another_volumes(slicer, scenes, plan, pair, sweep):
    from MMHVAESynthesisLib.scene import work

    frame, us = sweep[0].GetNthDataNode(0), scenes.volume("US")
    for wrong in (
        lambda: work.prepare({"us": frame}, ["t2"]),
        lambda: work.prepare({"us": us}, ["t2"], {"t2": frame}),
        lambda: plan({"t2": pair[0]}, {"t2": frame}),
        lambda: plan({"t2": frame}, {"t2": pair[1]}),
        lambda: plan({"t2": pair[0]}, {"t2": pair[1]}, also=[frame]),
    ):
        with pytest.raises(InputError, match="lies in another scene.*the sequence browser shows"):
            wrong()


def test_a_volume_that_shows_frames_takes_no_result(slicer, scenes, sweep):
    from MMHVAESynthesisLib.scene import work

    with pytest.raises(InputError, match="shows frames of a sequence"):
        work.prepare({"us": scenes.volume("US")}, ["t2"], {"t2": shown_by(slicer, sweep[1])})


def test_another_frame_than_the_synthetic_mr_was_made_from_is_told_before_the_registration(
    slicer, scenes, plan, pair, sweep
):
    from MMHVAESynthesisLib.scene import nodes, work

    us = shown_by(slicer, sweep[1], 0)
    made = work.prepare({"us": us}, ["t2"]).add(scenes.result({"us": us}, ("t2",)))

    def warnings():
        planned = plan(made, {"t2": pair[1]}, us)
        planned.states.update({node.GetID(): nodes.state(node) for node in planned.registered()})
        return planned._of_other_frames()

    assert warnings() == []
    shown_by(slicer, sweep[1], 1)
    (said,) = warnings()
    assert "has other voxels than when the synthetic MR was made from it" in said
    shown_by(slicer, sweep[1], 0)
    assert warnings() == []


def test_what_is_no_volume_or_no_contrast_is_refused_in_words(plan, made, pair):
    with pytest.raises(InputError, match="The iUS 'Points' is not a volume"):
        plan({"t2": pair[0]}, {"t2": pair[1]}, made.markups("Points", [(0.0, 0.0, 0.0)]))
    with pytest.raises(InputError, match="pre-operative pet: there is no such contrast"):
        plan({"t2": pair[0]}, {"pet": pair[1]})


def test_the_last_registration_is_the_one_made_last_wherever_it_lies_in_the_scene(registration, plan, made, pair):
    first = registration.add(made.result(made.motion(10)), plan({"t2": pair[0]}, {"t2": pair[1]}))
    second = registration.add(made.result(made.motion(20)), plan({"t2": pair[0]}, {"t2": pair[1]}))
    assert registration.registrations() == [first, second]
    second.SetAttribute("MMHVAE.created", "2001-01-01T00:00:00+00:00")
    assert registration.registrations() == [second, first]
