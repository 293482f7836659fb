"""Stands in for Slicer's ``qt``: PySide6 with PythonQt's manners, one application, settings in a temporary folder."""

import os
import tempfile

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import *  # noqa: E402, F403
from PySide6.QtCore import QSettings, Qt  # noqa: E402, F401
from PySide6.QtGui import *  # noqa: E402, F403
from PySide6.QtWidgets import *  # noqa: E402, F403
from PySide6.QtWidgets import QApplication  # noqa: E402

from slicer_headless.pythonqt.behaviour import activate  # noqa: E402
from slicer_headless.pythonqt.loader import QUiLoader  # noqa: E402, F401

QSettings.setDefaultFormat(QSettings.IniFormat)
QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, tempfile.mkdtemp(prefix="slicer-settings-"))
application = QApplication.instance() or QApplication(["Slicer", "-platform", "offscreen"])
QApplication.setOrganizationName("NA-MIC")
QApplication.setApplicationName("Slicer")
activate()
