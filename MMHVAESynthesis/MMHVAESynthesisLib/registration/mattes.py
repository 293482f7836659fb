"""The descent for where PyTorch is missing: SimpleITK's Mattes mutual information."""

import numpy as np
import SimpleITK as sitk

from ..errors import Cancelled
from ..progress import Reporter
from ..threads import OneThread
from .pyramid import Level, local_image
from .stepwise import sampled_part
from .transforms import affine_of, matrix_of

BINS, SAMPLED, ITERATIONS = 32, 0.3, 60

_ONE_THREAD = OneThread(
    sitk.ProcessObject.GetGlobalDefaultNumberOfThreads, sitk.ProcessObject.SetGlobalDefaultNumberOfThreads
)


class MattesDescent:
    """Regular-step gradient descent on Mattes mutual information, one resolution at a time."""

    name = "mattes"

    def __init__(self, seed: int):
        self.seed = seed

    def __enter__(self) -> "MattesDescent":
        # Sums on several threads would not repeat bit for bit, and the metric heeds the global number alone.
        _ONE_THREAD.__enter__()
        return self

    def __exit__(self, *error) -> None:
        _ONE_THREAD.__exit__(*error)

    def run(
        self, level: Level, pair: int, start: np.ndarray, step: float, mask: np.ndarray, affine: bool, report: Reporter
    ) -> np.ndarray:
        """Return the (4, 4) local pose reached from ``start``; see :class:`Descent`."""
        change = sitk.AffineTransform(3) if affine else sitk.Euler3DTransform()
        method = self._method(level, pair, mask, step)
        method.SetMovingInitialTransform(affine_of(start))
        method.SetInitialTransform(change, inPlace=True)

        def stop_if_asked() -> None:
            try:
                report.check()
            except Cancelled:
                method.StopRegistration()

        method.AddCommand(sitk.sitkIterationEvent, stop_if_asked)
        try:
            method.Execute(
                local_image(level.fixed[pair], level.fixed_origin, level.spacing),
                local_image(level.moving[pair], level.moving_origin, level.spacing),
            )
        except RuntimeError:
            # Too few samples meet in the moving volume from here: this start leads nowhere.
            return start
        report.check()
        return start @ matrix_of(change)

    def _method(self, level: Level, pair: int, mask: np.ndarray, step: float) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricFixedMask(local_image(mask, level.fixed_origin, level.spacing))
        if not level.valid[pair].all():
            method.SetMetricMovingMask(local_image(level.valid[pair], level.moving_origin, level.spacing))
        method.SetMetricSamplingStrategy(method.RANDOM)
        # SimpleITK takes seed 0 to mean the clock, and none of more than 32 bits.
        method.SetMetricSamplingPercentage(sampled_part(SAMPLED, mask), self.seed % (2**32 - 1) + 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(step, step / 50, ITERATIONS, relaxationFactor=0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        return method
