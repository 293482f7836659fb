"""Synthesis of intra-operative ultrasound and MR contrasts in 3D Slicer: the module's four classes.

The work is done by MMHVAESynthesisLib; this file is what Slicer needs to find it.
"""

import dataclasses
import inspect
import os
import sys
import tempfile
import unittest
from typing import Annotated, Any, Dict, Mapping, Optional, Sequence

import slicer
import vtk
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_SYNTHESIS = ("noise", "directions", "half_precision", "batch", "workers")
_REGISTRATION = ("kind", "engine", "starts", "seed", "device", "completion", "model")
"""What the calls of the logic take beside the words that they name."""

# Slicer's Reload runs this file again, but not the library that it imports.
for _name in [name for name in sys.modules if name.split(".")[0] == "MMHVAESynthesisLib"]:
    del sys.modules[_name]


class MMHVAESynthesis(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("MMHVAE Synthesis")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["SubjectHierarchy", "Volumes"]
        parent.contributors = ["The MMHVAE for 3D Slicer contributors"]
        parent.helpText = _(
            "Synthesises missing intra-operative ultrasound and MR contrasts (T2, ceT1, FLAIR) from those that are "
            "there, with the network MMHVAE. Choose one volume or more, a model, and Apply. Research software: "
            "synthetic images are computed, not acquired, and must not guide treatment."
        )
        parent.acknowledgementText = _(
            "The method: R. Dorent, N. Haouchine, A. Golby, S. Frisken, T. Kapur, W. Wells: Unified Cross-Modal "
            "Medical Image Synthesis with Hierarchical Mixture of Product-of-Experts. IEEE Transactions on Pattern "
            "Analysis and Machine Intelligence, 2025 (arXiv 2410.19378). Please cite it if you use this module."
        )
        # Synthetic volumes of a saved scene are marked too, whether or not the panel is ever opened.
        slicer.app.connect("startupCompleted()", prepareViews)
        slicer.app.connect("startupCompleted()", registerSampleData)


def prepareViews():
    """From now on write SYNTHETIC into views that show synthetic volumes; know our layouts; look after the scene."""
    from MMHVAESynthesisLib.scene import annotations, layouts, upkeep

    annotations.install()
    layouts.register()
    upkeep.install()


def registerSampleData():
    """Offer the example case in the module Sample Data."""
    from MMHVAESynthesisLib.scene import sample_data

    sample_data.register()


_RANGES = {"samples": (2, 64), "temperature": (0.0, 1.0), "seed": (0, 2147483647)}
"""Of the numbers that a scene keeps."""


@parameterNodeWrapper
class MMHVAESynthesisParameterNode:
    """The choices that belong to a scene; model, device, threads and engine are kept in the application's settings."""

    usVolume: vtkMRMLScalarVolumeNode
    t2Volume: vtkMRMLScalarVolumeNode
    cet1Volume: vtkMRMLScalarVolumeNode
    flairVolume: vtkMRMLScalarVolumeNode
    guessed: str = ""
    inputsChosen: bool = False
    usTarget: bool = False
    t2Target: bool = True
    cet1Target: bool = True
    flairTarget: bool = True
    usOutput: vtkMRMLScalarVolumeNode
    t2Output: vtkMRMLScalarVolumeNode
    cet1Output: vtkMRMLScalarVolumeNode
    flairOutput: vtkMRMLScalarVolumeNode
    uncertainty: bool = False
    samples: Annotated[int, WithinRange(*_RANGES["samples"])] = 5
    temperature: Annotated[float, WithinRange(*_RANGES["temperature"])] = 0.7
    seed: Annotated[int, WithinRange(*_RANGES["seed"])] = 0
    sharedNoise: bool = False
    allDirections: bool = True
    t2Synthetic: vtkMRMLScalarVolumeNode
    cet1Synthetic: vtkMRMLScalarVolumeNode
    flairSynthetic: vtkMRMLScalarVolumeNode
    t2Preop: vtkMRMLScalarVolumeNode
    cet1Preop: vtkMRMLScalarVolumeNode
    flairPreop: vtkMRMLScalarVolumeNode
    affine: bool = False
    search: bool = True
    completion: bool = True
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode


class MMHVAESynthesisWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: its life in Slicer. What its sections do is in MMHVAESynthesisLib.app."""

    def __init__(self, parent=None):
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameters = None
        self._binding = None
        self._bound = []
        # Last, for without a parent it calls setup.
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        from MMHVAESynthesisLib.app.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MMHVAESynthesis.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MMHVAESynthesisLogic()
        self.panel = Panel(self.ui, self.logic.startChild)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNodeAdded)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.initializeParameterNode()
        # Again, for a module that was loaded after Slicer's start. Whatever fails there, the panel works.
        registerSampleData()
        prepareViews()

    def cleanup(self):
        try:
            if self.panel is not None:
                self.panel.close()
                self.setParameterNode(None)
        finally:
            # Slicer may have deleted the widgets already: what follows the scene must not outlive them.
            self.removeObservers()
            self.panel = None

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        if self.panel is not None:
            self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.panel.on_scene_close()
        self.setParameterNode(None)
        self._parameters = None

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, caller, event):
        # What is read into the parameter node is nobody's choice in the panel.
        self.setParameterNode(None)

    def onSceneEndImport(self, caller, event):
        self._parameters = None
        if self.parent.isEntered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node):
        if self._parameterNode is not None:
            self.panel.on_added(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        # Slicer's selectors hear of it later (priority -10) and would choose the row before the node's in its stead.
        if self._parameterNode is not None:
            self.panel.let_go(node, self._bound)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        self.panel.on_removed(node)

    def initializeParameterNode(self):
        # A setup that failed may leave no panel behind; Slicer enters, leaves and reloads the module all the same.
        if self.panel is not None:
            # Slicer's wrappers observe the node, some of them for ever: one serves until the scene is another.
            if self._parameters is None or self._parameters.parameterNode.GetScene() is None:
                self._parameters = self.logic.getParameterNode()
            self.setParameterNode(self._parameters)

    def setParameterNode(self, parameterNode: Optional[MMHVAESynthesisParameterNode]):
        """Bind the panel to a parameter node, after letting go of the former; None only lets go."""
        from MMHVAESynthesisLib.app.binding import Binding

        if self._parameterNode is not None:
            self._binding.end()
            self._binding = None
            former = self._parameterNode.parameterNode
            self.removeObserver(former, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            widgets = self.boundWidgets()
            self._binding, self._bound = Binding(parameterNode, widgets), list(widgets)
            # The node, not its wrapper: who was observed is kept, and a wrapper has observers of its own.
            node = parameterNode.parameterNode
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParameterNodeModified)
        self.panel.bind(parameterNode)

    def boundWidgets(self) -> Dict[str, Any]:
        """Return the widgets that the .ui file binds, by the parameter's name."""
        named = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
        return {name: widget for name, widget in named.items() if name}

    def onParameterNodeModified(self, caller=None, event=None):
        self.panel.update()


class MMHVAESynthesisLogic(ScriptedLoadableModuleLogic):
    """The work, for the panel and for the Python console."""

    def getParameterNode(self):
        from MMHVAESynthesisLib.app.binding import forget_unusable

        node = super().getParameterNode()
        forget_unusable(node, _RANGES)
        return MMHVAESynthesisParameterNode(node)

    def synthesize(
        self,
        inputs: Mapping[str, Any],
        targets: Optional[Sequence[str]] = None,
        outputs: Optional[Mapping[str, Any]] = None,
        model: Optional[str] = None,
        temperature: float = 0.7,
        samples: int = 1,
        seed: int = 0,
        device: str = "auto",
        progress=None,
        cancel=None,
        **settings,
    ) -> Dict[str, Any]:
        """Synthesise volumes from volumes in the scene; blocks, and returns ``{modality: new volume node}``.

        :param inputs: ``{modality: volume node, or the name or ID of one}``; modalities are us, t2, cet1, flair, or
            iUS, T2, ceT1, FLAIR, in capitals or not; so are ``targets``.
        :param outputs: ``{modality: scalar volume node to overwrite}``; what is not there becomes a new volume.
        :param progress: Called with a ``Progress`` after each slice, in this thread.
        :param cancel: A ``threading.Event``, or anything that answers like one.
        :param settings: ``noise``, ``directions``, ``half_precision``, ``batch``, ``workers``; these and the other
            settings are described at ``MMHVAESynthesisLib.request.SynthesisRequest``.
        :raises MMHVAEError: with a sentence for the user. Whatever fails, the scene is left as it was.

        With ``samples`` of 2 or more the map of the standard deviation of a returned node is found with
        ``MMHVAESynthesisLib.scene.provenance.uncertainty_node(node)``.
        """
        from MMHVAESynthesisLib.request import by_modality, check_words, checked_targets
        from MMHVAESynthesisLib.scene.work import prepare
        from MMHVAESynthesisLib.synthesis import engine

        check_words("synthesize", settings, self.wordsOf(self.synthesize, _SYNTHESIS))
        work = prepare(
            by_modality(inputs, "The inputs"),
            checked_targets(targets),
            None if outputs is None else by_modality(outputs, "The outputs"),
            model=model,
            temperature=temperature,
            samples=samples,
            seed=seed,
            device=device,
            **settings,
        )
        return work.add(engine.synthesize(work.request, progress, cancel))

    def batch(
        self,
        output_dir: str,
        manifest: Optional[str] = None,
        folder: Optional[str] = None,
        scheduler: Optional[str] = None,
        progress=None,
        cancel=None,
        overwrite: bool = False,
        **settings,
    ) -> Dict[str, Any]:
        """Synthesise, and register, many cases from files to files; blocks. Called again, it goes on where it stopped.

        :param output_dir: For one folder a case, ``report.html`` and ``report.csv``.
        :param manifest: A CSV table, one case a line; or ``folder``: one folder a case, BIDS, or files called after
            case and kind. See ``MMHVAESynthesisLib.batch.table`` and ``folder``.
        :param scheduler: Address of a Dask cluster to work on, such as ``tcp://host:8786``.
        :param progress: Called with a ``Progress`` in this thread; its seconds left are those of all cases.
        :param overwrite: Whether finished cases that were made with other settings may be replaced.
        :param settings: As ``MMHVAESynthesisLib.batch.settings.Settings``: targets, model, samples, register, ...
        :return: ``done`` and ``kept`` (cases), ``failed`` (``{case: reason}``), ``with_warnings`` (``{case:
            warnings}``), ``kept_start`` (cases whose registration was left at its start), ``report`` and ``table``.
        :raises MMHVAEError: with a sentence for the user, when no case could be done.
        """
        from MMHVAESynthesisLib.batch import runner, source

        chosen = self.batchSettings(self.batch, settings)
        cases = source.cases_of(manifest, folder, chosen.register, output_dir)
        return runner.run_batch(cases, chosen, output_dir, progress, cancel, scheduler, overwrite).summary()

    def startBatch(
        self,
        output_dir: str,
        manifest: Optional[str] = None,
        folder: Optional[str] = None,
        scheduler: Optional[str] = None,
        progress=None,
        finished=None,
        overwrite: bool = False,
        **settings,
    ):
        """Start :meth:`batch` in a child process, so that Slicer stays usable, and return its handle at once.

        The handle has ``finished``, ``progress``, ``cases``, ``result``, ``error`` and ``cancel()``; see
        ``MMHVAESynthesisLib.app.batch_job.BatchJob``.

        :param progress: Called with each ``Progress`` in Slicer's own thread; None shows it in the status bar.
        :param finished: Called once with the handle, however the batch ended.
        :raises MMHVAEError: with a sentence for the user, when the settings are wrong or the child cannot be started.
        """
        from MMHVAESynthesisLib.app.batch_job import BatchJob, arguments_of

        chosen = self.batchSettings(self.startBatch, settings)
        arguments = arguments_of(output_dir, manifest, folder, scheduler, chosen)
        return BatchJob([*arguments, *(["--overwrite"] if overwrite else [])], self.startChild, progress, finished)

    def batchSettings(self, call, settings: Mapping[str, Any]):
        """Return the ``Settings`` of a batch; a word that neither they nor the call know is a TypeError."""
        from MMHVAESynthesisLib.batch.settings import Settings
        from MMHVAESynthesisLib.request import check_words

        check_words(call.__name__, settings, self.wordsOf(call, [each.name for each in dataclasses.fields(Settings)]))
        return Settings(**settings)

    def wordsOf(self, call, settings: Sequence[str]) -> Sequence[str]:
        """Return the words that a call of this class takes, with its settings."""
        named = [name for name in inspect.signature(call).parameters if name != "settings"]
        return [*named, *settings]

    def startChild(self, arguments: Sequence[str]):
        """Start the library's command line in a child process; see ``MMHVAESynthesisLib.app.process.Process``.

        :param arguments: With absolute paths: the child works in another folder.
        """
        from MMHVAESynthesisLib.app.process import starter

        return starter(slicer.app.slicerHome, slicer.util.startupEnvironment())(arguments)

    def register(
        self,
        synthetic: Mapping[str, Any],
        moving: Mapping[str, Any],
        us: Any = None,
        also: Sequence[Any] = (),
        fixed_landmarks: Any = None,
        moving_landmarks: Any = None,
        progress=None,
        cancel=None,
        **settings,
    ) -> Any:
        """Move pre-operative MR, and what was planned on it, to the ultrasound through the synthetic MR; blocks.

        :param synthetic: ``{modality: synthetic volume}``, as :meth:`synthesize` returns them; ``moving`` likewise.
        :param us: The ultrasound: its field of view, and itself where iUS is completed. These and ``also`` (what else
            to move), and the landmarks, are described at ``MMHVAESynthesisLib.scene.registration_plan.plan``.
        :param settings: ``kind``, ``engine`` (auto, lncc, mattes, brainsfit), ``starts``, ``seed``, ``device``,
            ``completion``, as ``MMHVAESynthesisLib.request.RegistrationRequest``; its ``model`` is by default the one
            that made the synthetic volumes, and where that is not on this machine nothing is completed.
        :return: The transform node, with its figures as attributes and in a table;
            ``MMHVAESynthesisLib.scene.registration.undo(node)`` takes everything back.
        :raises MMHVAEError: with a sentence for the user. Whatever fails, the scene is left as it was.
        """
        from MMHVAESynthesisLib.registration import engine
        from MMHVAESynthesisLib.request import by_modality, check_words
        from MMHVAESynthesisLib.scene import brainsfit, registration
        from MMHVAESynthesisLib.scene.registration_plan import plan

        check_words("register", settings, self.wordsOf(self.register, _REGISTRATION))
        synthetic = by_modality(synthetic, "The synthetic MR")
        moving = by_modality(moving, "The pre-operative MR")
        planned = plan(synthetic, moving, us, also, fixed_landmarks, moving_landmarks)
        request = planned.request(**settings)
        runner = brainsfit.runner() if request.engine == "brainsfit" else None
        return registration.add(engine.register(request, progress, cancel, runner), planned)

    def displacement(self, registration: Any) -> Any:
        """Return a volume node of how far a registration moved the MR, in mm over the ultrasound's field of view.

        A rigid or affine transform cannot show how the brain shifted inside the field of view; the node says so too.

        :param registration: What :meth:`register` returned; undoing it takes the volume away.
        :raises MMHVAEError: with a sentence for the user.
        """
        from MMHVAESynthesisLib.scene.registration_figures import add_displacement

        return add_displacement(registration)


class MMHVAESynthesisTest(ScriptedLoadableModuleTest):
    """The self test: the whole way through a scene, with random weights."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        self.setUp()
        try:
            self.test_synthesis()
        except unittest.SkipTest as reason:
            self.delayDisplay(_("Test skipped: {reason}").format(reason=reason))

    def test_synthesis(self):
        """A volume under a rotation gives two volumes on its grid, marked as synthetic."""
        from MMHVAESynthesisLib.dependencies import require_torch
        from MMHVAESynthesisLib.errors import DependencyError

        try:
            require_torch()
        except DependencyError as error:
            self.skipTest(str(error))
        source = self.makeUltrasound()
        with tempfile.TemporaryDirectory() as folder:
            model = self.makeModel(os.path.join(folder, "random.safetensors"))
            nodes = MMHVAESynthesisLogic().synthesize(
                {"us": source}, targets=["t2", "flair"], model=model, device="cpu"
            )
        self.assertEqual(list(nodes), ["t2", "flair"])
        for node in nodes.values():
            self.assertEqual(node.GetAttribute("MMHVAE.synthetic"), "1")
            self.assertEqual(node.GetTransformNodeID(), source.GetTransformNodeID())
            self.assertEqual(node.GetImageData().GetDimensions(), source.GetImageData().GetDimensions())
            voxels = slicer.util.arrayFromVolume(node)
            self.assertGreater(voxels.std(), 0)
            self.assertTrue((voxels[slicer.util.arrayFromVolume(source) == 0] == 0).all())
        self.delayDisplay("Test passed")

    def makeUltrasound(self):
        """Return a small volume, zero outside a box, under a rotation."""
        import numpy as np

        voxels = np.zeros((4, 40, 48), np.uint8)
        voxels[:, 8:32, 8:40] = np.random.default_rng(0).integers(1, 255, (4, 24, 32))
        node = slicer.util.addVolumeFromArray(voxels, np.diag([0.5, 0.5, 0.5, 1.0]), "Test iUS")
        rotation = vtk.vtkTransform()
        rotation.RotateWXYZ(20, 1, 2, 3)
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Test placement")
        transform.SetMatrixTransformToParent(rotation.GetMatrix())
        node.SetAndObserveTransformNodeID(transform.GetID())
        return node

    def makeModel(self, path):
        """Write a small network of seeded random weights to a checkpoint file and return its path."""
        from pathlib import Path

        import torch

        from MMHVAESynthesisLib.models.checkpoint import save
        from MMHVAESynthesisLib.models.header import ModelHeader
        from MMHVAESynthesisLib.network.model import MMHVAE
        from MMHVAESynthesisLib.network.sizes import NetworkSizes

        torch.manual_seed(0)
        sizes = NetworkSizes(base_features=4, max_features=8, halvings=4, size=64, decoder_blocks=1, decoder_features=4)
        save(Path(path), ModelHeader(name="random weights", sizes=sizes), MMHVAE(sizes))
        return path
