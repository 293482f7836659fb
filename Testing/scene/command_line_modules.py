"""Slicer's command-line modules where Qt is missing: ``slicer.cli`` and the modules' logic, as far as they are used.

slicer-core has the logic's class but no way to give it a module's description from Python. This one reads the
description that an executable gives of itself, writes node values as files without their parent transforms, runs the
executable in a thread, and reads its output back from ``processEvents()`` in the main thread, as Slicer does. Its
manners are Slicer's too: values of unknown types are dropped with a printed line, a failed run raises nothing, and the
node that an output names as its reference goes under the new transform.
"""

import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Dict, List

import slicer

RUNNING, CANCELLING, CANCELLED, COMPLETING, COMPLETED, COMPLETED_WITH_ERRORS = 2, 4, 8, 16, 32, 96


class Logic:
    """One module's logic, with the runs that it started."""

    def __init__(self, command: List[str], folder: Path):
        self.command, self.folder = command, folder
        xml = subprocess.run([*command, "--xml"], check=True, capture_output=True, text=True).stdout
        self.parameters = {each.findtext("name"): each for each in ElementTree.fromstring(xml).find("parameters")}
        self.values: Dict[str, Dict[str, Any]] = {}
        self.runs: List[Run] = []
        self.dropped: List[str] = []

    def CreateNodeInScene(self):  # noqa: N802
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCommandLineModuleNode", "BRAINSFit")
        self.values[node.GetID()] = {}
        return node

    def set_parameters(self, node, parameters):
        for name, value in parameters.items():
            if name not in self.parameters:
                raise KeyError(f"BRAINSFit has no parameter {name}")
            if type(value) in (str, bool, int, float) or isinstance(value, slicer.vtkMRMLNode):
                self.values[node.GetID()][name] = value
            else:
                self.dropped.append(name)
                print("parameter ", name, " has unsupported type ", value.__class__.__name__)

    def Apply(self, node, update_display):  # noqa: N802
        run = Run(self, node, self.folder / f"{len(self.runs)}")
        self.runs.append(run)
        node.SetStatus(RUNNING)
        run.thread.start()

    def read_back(self):
        """In the main thread: what the runs that have ended leave."""
        for run in self.runs:
            run.read_back()


class Run:
    """One run of an executable, in a thread."""

    def __init__(self, logic: Logic, node, folder: Path):
        self.logic, self.node, self.done, self.progress = logic, node, False, []
        folder.mkdir(parents=True)
        self.values = dict(logic.values[node.GetID()])
        self.files = {name: self._file(folder, name, value) for name, value in self.values.items()}
        self.words = [*logic.command, "--returnparameterfile", str(folder / "returned")]
        for name, value in self.values.items():
            if isinstance(value, bool):
                self.words += [f"--{name}"] if value else []
            else:
                self.words += [f"--{name}", str(self.files.get(name) or value)]
        self.thread = threading.Thread(target=self._run)

    def _file(self, folder: Path, name: str, value):
        if not isinstance(value, slicer.vtkMRMLNode):
            return None
        path = folder / f"{name}{'.h5' if value.IsA('vtkMRMLTransformNode') else '.nrrd'}"
        if self.logic.parameters[name].findtext("channel") == "input":
            storage = value.CreateDefaultStorageNode()
            storage.SetFileName(str(path))
            storage.SetUseCompression(0)
            assert storage.WriteData(value), path
            storage.UnRegister(None)
        return path

    def _run(self):
        # Slicer's own thread may write to the node without its events; here only plain values are kept.
        with subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as self.child:
            errors: List[str] = []
            reader = threading.Thread(target=lambda: errors.append(self.child.stderr.read()))
            reader.start()
            said = []
            for line in self.child.stdout:
                if line.startswith("<filter-progress>"):
                    self.progress.append(float(line.split(">")[1].split("<")[0]))
                else:
                    said.append(line)
            reader.join()
        self.output, self.error = "".join(said), "".join(errors)
        self.done = True

    def read_back(self):
        if self.node.GetStatus() == CANCELLING and self.thread.is_alive() and getattr(self, "child", None):
            self.child.kill()
            self.thread.join()
        if not self.done or not self.node.IsBusy():
            return
        self.node.SetOutputText(self.output)
        self.node.SetErrorText(self.error)
        if self.node.GetStatus() == CANCELLING:
            self.node.SetStatus(CANCELLED)
        elif self.child.returncode != 0:
            self.node.SetStatus(COMPLETED_WITH_ERRORS)
        else:
            self._load()
            self.node.SetStatus(COMPLETED)

    def _load(self):
        for name, path in self.files.items():
            parameter = self.logic.parameters[name]
            if path is None or parameter.findtext("channel") != "output" or not path.is_file():
                continue
            storage = self.values[name].CreateDefaultStorageNode()
            storage.SetFileName(str(path))
            assert storage.ReadData(self.values[name]), path
            storage.UnRegister(None)
            reference = self.values.get(parameter.get("reference"))
            if reference is not None:
                reference.SetAndObserveTransformNodeID(self.values[name].GetID())


def install(monkeypatch, program: Path, folder: Path) -> Logic:
    """Give the running headless Slicer ``slicer.cli`` and the module BRAINSFit, until the test ends."""
    logic = Logic([sys.executable, str(program)], folder)
    monkeypatch.setattr(slicer.modules, "brainsfit", SimpleNamespace(logic=lambda: logic), raising=False)

    def run(module, node=None, parameters=None, wait_for_completion=False, delete_temporary_files=True,
            update_display=True):  # fmt: skip
        node = node or module.logic().CreateNodeInScene()
        module.logic().set_parameters(node, parameters or {})
        module.logic().Apply(node, update_display)
        while wait_for_completion and node.IsBusy():
            slicer.app.processEvents()
        return node

    cli = ModuleType("slicer.cli")
    cli.run = run
    monkeypatch.setitem(sys.modules, "slicer.cli", cli)
    monkeypatch.setattr(slicer, "cli", cli, raising=False)
    events = slicer.app.processEvents

    def process_events(*arguments):
        events(*arguments)
        logic.read_back()

    monkeypatch.setattr(slicer.app, "processEvents", process_events)
    return logic
