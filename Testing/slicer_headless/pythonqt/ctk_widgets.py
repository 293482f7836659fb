"""CTK's widgets: the properties, signals and looks that the module's panel relies on."""

from pathlib import Path

from PySide6.QtCore import Property, QEvent, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractButton,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSlider,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QToolButton,
    QWidget,
)


def delegated(kind, part: str, getter: str, setter: str):
    """Return a Qt property that is kept by the child widget in the attribute ``part``."""
    return Property(
        kind,
        lambda self: getattr(type(self.__dict__[part]), getter)(self.__dict__[part]),
        lambda self, value: getattr(type(self.__dict__[part]), setter)(self.__dict__[part], value),
    )


def stored(kind, key: str, default):
    """Return a Qt property that is only kept."""
    return Property(
        kind, lambda self: self.__dict__.get(key, default), lambda self, value: self.__dict__.__setitem__(key, value)
    )


class ctkCollapsibleButton(QAbstractButton):  # noqa: N801
    """A header that folds what is below it."""

    contentsCollapsed = Signal(bool)
    SIGNALS = {"contentsCollapsed(bool)": "contentsCollapsed"}
    SLOTS = ("setCollapsed(bool)",)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed, self._folding = False, False
        self._hidden = {}
        self.setContentsMargins(0, self._header(), 0, 0)
        self.clicked.connect(lambda: self.setCollapsed(not self._collapsed))

    def _header(self) -> int:
        return self.fontMetrics().height() + 10

    def _get_collapsed(self):
        return self._collapsed

    def setCollapsed(self, collapsed):
        """Hide the children, or show again those that were not hidden by themselves."""
        was, self._collapsed = self._collapsed, bool(collapsed)
        children = [child for child in self.children() if child.isWidgetType()]
        if self._collapsed and not was:
            self._hidden = {child: child.isHidden() for child in children}
        self._folding = True
        for child in children:
            child.installEventFilter(self)
            child.setVisible(not self._collapsed and not self._hidden.get(child, False))
        self._folding = False
        self.setMaximumHeight(self._header() if self._collapsed else 16777215)
        self.contentsCollapsed.emit(self._collapsed)

    def eventFilter(self, child, event):
        """Remember what is shown or hidden while the children are folded away."""
        kind = event.type()
        if self._collapsed and not self._folding and kind in (QEvent.ShowToParent, QEvent.HideToParent):
            self._hidden[child] = kind == QEvent.HideToParent
            if kind == QEvent.ShowToParent:
                self._folding = True
                child.setVisible(False)
                self._folding = False
        return False

    collapsed = Property(bool, _get_collapsed, setCollapsed)
    flat = stored(bool, "_flat", False)

    def sizeHint(self):
        layout = self.layout()
        hint = super().sizeHint() if layout is None or self._collapsed else layout.sizeHint()
        if self._collapsed or layout is None:
            hint.setHeight(self._header())
        return hint

    def paintEvent(self, _):
        painter, option = QStylePainter(self), QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self._header())
        painter.drawControl(QStyle.CE_PushButtonBevel, option)
        arrow = QStyle.PE_IndicatorArrowRight if self._collapsed else QStyle.PE_IndicatorArrowDown
        text = option.rect.adjusted(28, 0, 0, 0)
        option.rect.setWidth(24)
        painter.drawPrimitive(arrow, option)
        painter.drawItemText(text, Qt.AlignVCenter, option.palette, self.isEnabled(), QAbstractButton.text(self))


class ctkSliderWidget(QWidget):  # noqa: N801
    """A slider beside a spin box of the same value."""

    valueChanged = Signal(float)
    SIGNALS = {"valueChanged(double)": "valueChanged"}
    SLOTS = ("setValue(double)",)
    _STEPS = 1000

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider, self._box = QSlider(Qt.Horizontal, self), QDoubleSpinBox(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._slider.setRange(0, self._STEPS)
        self._slider.valueChanged.connect(self._on_slider)
        self._box.valueChanged.connect(self._on_box)

    def setValue(self, value):
        self._box.setValue(value)

    def _limits(self):
        box = self.__dict__["_box"]
        return QDoubleSpinBox.minimum(box), QDoubleSpinBox.maximum(box)

    def _on_slider(self, step):
        low, high = self._limits()
        self._box.setValue(low + (high - low) * step / self._STEPS)

    def _on_box(self, value):
        low, high = self._limits()
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - low) / ((high - low) or 1) * self._STEPS))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    value = delegated(float, "_box", "value", "setValue")
    minimum = delegated(float, "_box", "minimum", "setMinimum")
    maximum = delegated(float, "_box", "maximum", "setMaximum")
    singleStep = delegated(float, "_box", "singleStep", "setSingleStep")
    decimals = delegated(int, "_box", "decimals", "setDecimals")
    suffix = delegated(str, "_box", "suffix", "setSuffix")
    pageStep = stored(float, "_page_step", 10.0)


class ctkPathLineEdit(QWidget):  # noqa: N801
    """A path to type or to browse for."""

    currentPathChanged = Signal(str)
    SIGNALS = {"currentPathChanged(QString)": "currentPathChanged"}
    SLOTS = ("setCurrentPath(QString)",)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._line, self._browse = QLineEdit(self), QToolButton(self)
        self._browse.setText("…")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(self._browse)
        self._line.textChanged.connect(self.currentPathChanged.emit)
        self._browse.clicked.connect(self.browse)

    def setCurrentPath(self, path):
        self._line.setText(path)

    def browse(self):
        name, _ = QFileDialog.getOpenFileName(self, "", str(Path.home()), ";;".join(self.nameFilters))
        if name:
            self.setCurrentPath(name)

    def addCurrentPathToHistory(self):
        """Do nothing: there is no history here."""

    currentPath = delegated(str, "_line", "text", "setText")
    nameFilters = stored("QStringList", "_name_filters", [])
    settingKey = stored(str, "_setting_key", "")
    filters = stored(str, "_filters", "")
    showHistoryButton = stored(bool, "_show_history_button", True)
