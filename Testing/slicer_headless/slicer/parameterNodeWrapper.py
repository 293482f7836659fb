"""Stands in for ``slicer.parameterNodeWrapper``: typed fields kept in a parameter node and bound to widgets.

Values are written as Slicer writes them: text, ``True`` or ``False``, and nodes as references whose role is the field's
name. Fields may be str, int, float, bool, an Enum or a node class, annotated with WithinRange, Choice or Default. As in
Slicer a widget is bound by its exact class, and a validator raises on writing.
"""

import enum
import typing
from dataclasses import dataclass

import slicer
import vtk


@dataclass
class WithinRange:
    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within {self.minimum} and {self.maximum}")


@dataclass
class Choice:
    choices: typing.Sequence

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass
class Default:
    value: typing.Any


class _Field:
    """One field: how it is kept in the node."""

    def __init__(self, name, annotation, default):
        self.name = name
        base = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
        notes = getattr(annotation, "__metadata__", ())
        self.type = base
        self.validators = [note for note in notes if hasattr(note, "validate")]
        self.is_node = isinstance(base, type) and issubclass(base, slicer.vtkMRMLNode)
        given = [note.value for note in notes if isinstance(note, Default)]
        self.default = given[0] if given else default if default is not None else None if self.is_node else base()

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)

    def write(self, node, value):
        expected = (int, float) if self.type is float else self.type
        if not isinstance(value, expected) and not (self.is_node and value is None):
            raise TypeError(f"{self.name} must be {self.type.__name__}, not {type(value).__name__}")
        for validator in self.validators:
            validator.validate(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))


def parameterNodeWrapper(cls):
    """Turn a class of annotated fields into a wrapper of a parameter node."""
    fields = {
        name: _Field(name, annotation, getattr(cls, name, None))
        for name, annotation in typing.get_type_hints(cls, include_extras=True).items()
    }

    def make_property(name):
        return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))

    members = {name: make_property(name) for name in fields}
    return type(cls.__name__, (_Wrapper,), {**members, "_fields": fields, "__doc__": cls.__doc__})


class _Wrapper:
    _fields: typing.Dict[str, _Field] = {}

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._guis, self._tags, self._updating = {}, 0, False
        for field in self._fields.values():
            if not parameterNode.HasParameter(field.name):
                field.write(parameterNode, field.default)

    def getValue(self, name):
        return self._fields[name].read(self.parameterNode)

    def setValue(self, name, value):
        with slicer.util.NodeModify(self.parameterNode):
            self._fields[name].write(self.parameterNode, value)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, was):
        return self.parameterNode.EndModify(was)

    def connectGui(self, gui):
        """Bind every widget whose property SlicerParameterName names a field. As in Slicer no tag comes back."""
        named = {widget.property("SlicerParameterName"): widget for widget in vars(gui).values()}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        """Bind ``{field: widget}`` and return a tag to disconnect with. As in Slicer an observer stays for ever."""
        bound = {name: _Binding(self, self._fields[name], widget) for name, widget in mapping.items()}
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update())
        tag, self._tags = self._tags, self._tags + 1
        self._guis[tag] = bound
        self._update()
        for binding in bound.values():
            binding.changed.connect(binding.read_widget)
        return tag

    def disconnectGui(self, tag):
        for binding in self._guis.pop(tag, {}).values():
            binding.changed.disconnect(binding.read_widget)

    def _update(self):
        if self._updating:
            return
        self._updating = True
        try:
            for bound in self._guis.values():
                for name, binding in bound.items():
                    binding.write_widget(self.getValue(name))
        finally:
            self._updating = False


class _Binding:
    """One widget and one field."""

    def __init__(self, wrapper, field, widget):
        import ctk
        import qt

        self._wrapper, self._field, self._widget = wrapper, field, widget
        kinds = {
            (qt.QCheckBox, bool): ("stateChanged", "checked"),
            (qt.QSpinBox, int): ("valueChanged", "value"),
            (qt.QDoubleSpinBox, float): ("valueChanged", "value"),
            (ctk.ctkSliderWidget, float): ("valueChanged", "value"),
            (qt.QLineEdit, str): ("textChanged", "text"),
            (slicer.qMRMLNodeComboBox, "node"): ("currentNodeChanged", None),
        }
        kind = (type(widget), "node" if field.is_node else field.type)
        if kind not in kinds:
            raise RuntimeError(f"no connection between {field.type} and {type(widget)}")
        signal, self._attribute = kinds[kind]
        self.changed = getattr(widget, signal)
        self._prepare()

    def _prepare(self):
        limits = next((each for each in self._field.validators if isinstance(each, WithinRange)), None)
        if self._field.is_node:
            self._widget.nodeTypes = (self._field.type.__name__,)
        elif limits is not None:
            self._widget.minimum, self._widget.maximum = limits.minimum, limits.maximum
        elif type(self._widget).__name__ == "ctkSliderWidget":
            raise RuntimeError("a slider needs a field with a range")

    def read_widget(self, *_):
        if not self._wrapper._updating:
            value = self._widget.currentNode() if self._field.is_node else getattr(self._widget, self._attribute)
            self._wrapper.setValue(self._field.name, value)

    def write_widget(self, value):
        if self._field.is_node:
            self._widget.setCurrentNode(value)
        else:
            setattr(self._widget, self._attribute, value)
