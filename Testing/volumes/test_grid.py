import numpy as np
import pytest
import SimpleITK as sitk

from MMHVAESynthesisLib.volumes import grid
from MMHVAESynthesisLib.volumes.grid import Axis, SliceGrid


@pytest.mark.parametrize("count", [96, 100, 169, 180, 241])
def test_weights_of_tiles_sum_to_1_where_three_of_them_overlap_too(count):
    starts = grid._tile_starts(count, 96)
    total = np.zeros(count)
    for start, weights in zip(starts, grid._tile_weights(starts, 96, count)):
        total[start : start + 96] += weights
    np.testing.assert_allclose(total, 1, atol=1e-12)


@pytest.mark.parametrize(("plane", "native"), [(0, 0), (1, 2), (4, 8), (5, 9)])
def test_a_plane_on_the_end_of_a_volume_is_its_outermost(plane, native):
    """Half a plane beyond the last one still belongs to the volume, as ITK has it, and would be rounded beyond it."""
    planes = Axis(length=10, start=-0.5, step=2.0, count=6)
    assert SliceGrid(None, planes, planes, planes, 6).native_index(plane) == native


@pytest.mark.parametrize("mm", [0.12, 0.3, 0.5, 0.8])
def test_planes_are_those_that_lie_nearest_to_one_another(mm):
    reference = sitk.Image(40, 40, 30, sitk.sitkUInt8)
    reference.SetSpacing((0.5, 0.5, mm))
    grid = SliceGrid.covering(reference, [(0, 39), (0, 39), (4, 29)], 0.5, 48)
    ours, theirs = mm * (grid.planes.start + grid.planes.step * np.arange(grid.planes.count)), mm * np.arange(30)
    apart = np.abs(np.subtract.outer(ours, theirs))
    for plane, k in enumerate(map(grid.native_index, range(grid.planes.count))):
        assert apart[plane, k] == pytest.approx(apart[plane].min())
    for k in range(4, 30):
        assert apart[grid.model_index(k), k] == pytest.approx(apart[:, k].min())
