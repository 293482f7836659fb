"""PythonQt's manners on PySide6 objects.

- A Qt property is an attribute, never a method: ``button.enabled = True``; ``button.text()`` is a TypeError.
- ``name`` is ``objectName``; lists of strings come as tuples.
- ``sender.connect("clicked(bool)", function)`` and ``disconnect`` take the signal by its C++ signature. PythonQt only
  prints that a signal is unknown; here it raises, so that a test sees it.

Classes written in Python here list the C++ signatures of their signals in ``SIGNALS`` and of their slots in ``SLOTS``.
"""

from functools import cache, partial

from PySide6.QtCore import QMetaObject, QObject

_get = QObject.__getattribute__

_ASKED_BY_QT = frozenset(("sizeHint", "minimumSizeHint"))
"""Properties that stay methods: Qt looks for a Python class's own by the same way, and would never come back."""


@cache
def _properties_of(cls, _count) -> frozenset:
    meta = cls.staticMetaObject
    return frozenset(meta.property(index).name() for index in range(meta.propertyCount())) - _ASKED_BY_QT


def is_property(instance: QObject, name: str) -> bool:
    """Return whether Qt knows ``name`` as a property of the object's class."""
    cls = type(instance)
    return name in _properties_of(cls, cls.staticMetaObject.propertyCount())


def activate() -> None:
    """Change QObject and all its classes for this process; a second call changes nothing."""
    QObject.__getattribute__ = _getattribute
    classes = [QObject]
    while classes:
        cls = classes.pop()
        # PySide6 gives every class a __setattr__ of its own, so that the base class's does not reach it.
        if "__setattr__" in vars(cls):
            cls.__setattr__ = _setattr
        classes += cls.__subclasses__()


def _getattribute(self, name):
    if name == "name":
        name = "objectName"
    if name == "connect":
        return partial(_connect, self)
    if name == "disconnect":
        return partial(_disconnect, self)
    if not name.startswith("_") and is_property(self, name):
        value = _get(self, "property")(name)
        return tuple(value) if isinstance(value, list) else value
    return _get(self, name)


def _setattr(self, name, value):
    if name == "name":
        name = "objectName"
    if not name.startswith("_") and is_property(self, name):
        _get(self, "setProperty")(name, list(value) if isinstance(value, tuple) else value)
    elif hasattr(getattr(type(self), name, None), "__set__"):
        getattr(type(self), name).__set__(self, value)
    else:
        self.__dict__[name] = value


def signal(sender: QObject, signature: str):
    """Return the bound signal of a C++ signature such as ``clicked(bool)``; AttributeError if there is none."""
    plain = bytes(QMetaObject.normalizedSignature(signature)).decode()
    own = {each.replace(" ", ""): name for each, name in getattr(type(sender), "SIGNALS", {}).items()}
    if plain in own:
        return _get(sender, own[plain])
    if type(sender).staticMetaObject.indexOfSignal(plain) < 0:
        raise AttributeError(f"{type(sender).__name__} has no signal {signature}")
    return _get(sender, plain.partition("(")[0])


def slot(receiver: QObject, signature: str):
    """Return the bound slot of a C++ signature such as ``setVisible(bool)``; AttributeError if there is none."""
    plain = bytes(QMetaObject.normalizedSignature(signature)).decode()
    known = plain in getattr(type(receiver), "SLOTS", ()) or type(receiver).staticMetaObject.indexOfSlot(plain) >= 0
    if not known:
        raise AttributeError(f"{type(receiver).__name__} has no slot {signature}")
    return _get(receiver, plain.partition("(")[0])


def _connect(sender, signature, function) -> bool:
    signal(sender, signature).connect(function)
    return True


def _disconnect(sender, signature, function) -> bool:
    return signal(sender, signature).disconnect(function)
