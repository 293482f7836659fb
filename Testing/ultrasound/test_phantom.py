import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.ultrasound.phantom import phantom
from MMHVAESynthesisLib.ultrasound.simulate import simulate_sweep


@pytest.fixture(scope="module")
def head():
    return phantom(0, 2.0)


def arrays(images):
    return {name: sitk.GetArrayFromImage(image) for name, image in images.items()}


def test_the_phantom_is_one_stripped_brain_on_one_grid(head):
    assert set(head) == {"t2", "cet1", "flair", "label"}
    for image in head.values():
        assert image.GetSize() == head["t2"].GetSize() and image.GetOrigin() == head["t2"].GetOrigin()
        assert np.allclose(image.GetSpacing(), 2.0)
    got = arrays(head)
    assert all(got[m].dtype == np.int16 for m in ("t2", "cet1", "flair"))
    assert all(np.array_equal(got["t2"] > 0, got[m] > 0) for m in ("cet1", "flair"))
    litres = (got["t2"] > 0).sum() * 8 / 1e6
    assert 0.9 < litres < 1.7
    assert all(not np.take(got["t2"], side, axis).any() for axis in range(3) for side in (0, -1))


def test_the_contrasts_are_those_of_mr(head):
    got = arrays(head)
    enhancing, oedema, necrosis = (got["label"] == value for value in (4, 2, 1))
    assert min(part.sum() for part in (enhancing, oedema, necrosis)) > 50
    brain = (got["t2"] > 0) & (got["label"] == 0)
    white = brain & (got["cet1"] > np.percentile(got["cet1"][brain], 60))
    fluid = brain & (got["t2"] > np.percentile(got["t2"][brain], 98))
    assert np.median(got["cet1"][enhancing]) > 1.3 * np.median(got["cet1"][white])
    assert np.median(got["flair"][oedema]) > 1.3 * np.median(got["flair"][white])
    assert np.median(got["flair"][fluid]) < 0.7 * np.median(got["flair"][white])
    assert np.median(got["cet1"][fluid]) < 0.7 * np.median(got["cet1"][white])


def test_the_phantom_repeats_with_its_seed(head):
    again, other = arrays(phantom(0, 2.0)), arrays(phantom(1, 2.0))
    assert all(np.array_equal(again[name], values) for name, values in arrays(head).items())
    assert not np.array_equal(other["t2"], again["t2"])


def test_a_sweep_of_the_phantom_sees_its_tumour(head):
    contrasts = {name: image for name, image in head.items() if name != "label"}
    sweep = simulate_sweep(contrasts, 0, head["label"])
    label = sitk.GetArrayFromImage(sitk.Resample(head["label"], sweep.us, sitk.Transform(), sitk.sitkNearestNeighbor))
    assert ((label > 0) & (sitk.GetArrayFromImage(sweep.mask) > 0)).sum() > 1000


def test_a_spacing_out_of_range_is_refused():
    with pytest.raises(InputError):
        phantom(0, 0.1)
