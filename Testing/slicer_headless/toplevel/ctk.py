"""Stands in for Slicer's ``ctk``."""

import qt  # noqa: F401  (PythonQt's manners come with it)

from slicer_headless.pythonqt.ctk_widgets import ctkCollapsibleButton, ctkPathLineEdit, ctkSliderWidget

__all__ = ["ctkCollapsibleButton", "ctkPathLineEdit", "ctkSliderWidget"]
