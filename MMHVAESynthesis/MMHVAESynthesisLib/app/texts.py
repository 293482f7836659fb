"""Sentences of the panel that are made of facts."""

import platform
import sys
from typing import Any, Mapping, Optional, Sequence

from slicer.i18n import tr as _

from .. import __version__
from ..progress import Progress


def duration(seconds: float) -> str:
    """Return a time for people, no more exact than it can be known.

    >>> duration(3.2), duration(100), duration(4000)
    ('3 s', '1 min 40 s', '1 h 7 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def running(progress: Optional[Progress], silent_seconds: float, stopping: bool) -> str:
    """Say how a job is getting on."""
    if stopping:
        return _("Stopping ...")
    if silent_seconds:
        return _("Nothing was heard from the computation for {time}. It may still be at work; Cancel ends it.").format(
            time=duration(silent_seconds)
        )
    if progress is None:
        return _("Starting ...")
    # Stages whose steps are not just steps say in brackets what they are; slices are the rule here.
    stage, _bracket, unit = progress.stage.partition(" (")
    known = {
        "preparing": _("Preparing"),
        "preview": _("Preview"),
        "synthesis": _("Synthesis"),
        "completion": _("Completing contrasts"),
        "registration": _("Registration"),
        "download": _("Download"),
    }
    title = known.get(stage, stage.capitalize())
    if progress.total <= 1:
        return f"{title} ..."
    text = _("{stage}: {done} of {total} {unit}").format(
        stage=title,
        done=progress.done,
        total=progress.total,
        unit=unit.rstrip(")") or (_("slices") if stage in ("synthesis", "completion") else _("steps")),
    )
    if progress.seconds_left:
        text += _(", about {time} left").format(time=duration(progress.seconds_left))
    return text


def grid(size: Sequence[int], spacing: Sequence[float]) -> str:
    """Return a volume's size and spacing: ``384 × 384 × 120 voxels of 0.5 × 0.5 × 1 mm``, or ``of 0.5 mm``."""
    millimetres = [f"{each:.3g}" for each in spacing]
    return _("{size} voxels of {spacing} mm").format(
        size=" × ".join(str(each) for each in size),
        spacing=millimetres[0] if len(set(millimetres)) == 1 else " × ".join(millimetres),
    )


def temperature(value: float) -> str:
    """Say in a sentence what a temperature does."""
    if value == 0:
        return _("The most likely image, the same at every run; smooth where the input leaves it open.")
    if value < 0.5:
        return _("Close to the most likely image, with little invented detail.")
    if value <= 0.8:
        return _("As the authors used it: detail of a real image, part of it invented by the noise.")
    return _("The full variety that the network thinks possible: much of the fine detail is invented.")


def diagnostics(facts: Mapping[str, Any], log: str) -> str:
    """Return what a report needs: versions, settings, log."""
    lines = {
        "MMHVAE for 3D Slicer": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "System": platform.platform(),
        **facts,
    }
    return "\n".join([*(f"{name}: {value}" for name, value in lines.items()), "", "Log:", log or "(empty)"])
