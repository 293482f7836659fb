"""PySide6 with the manners of PythonQt, and the widgets of Slicer and CTK that the module uses. Import ``qt``."""
