"""``slicer.app.coreIOManager()``: reading and writing of nodes and scenes, through MRML's own storage nodes."""

from pathlib import Path

_LABEL_MAP, _CENTRED, _SINGLE_FILE, _AUTO_WINDOW, _DISCARD_ORIENTATION = 1, 2, 4, 8, 16

_TYPES = {
    "SceneFile": (".mrml", ".mrb"),
    "TransformFile": (".h5", ".tfm", ".mat"),
    "MarkupsFile": (".mrk.json", ".fcsv"),
    "ModelFile": (".vtk", ".vtp", ".stl", ".ply", ".obj"),
}


class FileManager:
    """Has the methods of qSlicerCoreIOManager that ``slicer.util`` calls."""

    def fileType(self, file_name: str) -> str:
        name = str(file_name).lower()
        return next((kind for kind, endings in _TYPES.items() if name.endswith(endings)), "VolumeFile")

    def fileWriterFileType(self, node) -> str:
        return "VolumeFile" if node.IsA("vtkMRMLVolumeNode") else "NodeFile"

    def loadNodes(self, file_type, properties, loaded, messages=None) -> bool:
        import slicer

        path = Path(properties["fileName"])
        if not path.is_file():
            return False
        if file_type == "SceneFile":
            return self._load_scene(path, properties.get("clear", False), messages)
        node = getattr(self, f"_load_{file_type}")(slicer.modules, path, properties)
        if node is None:
            return False
        loaded.AddItem(node)
        return True

    def saveNodes(self, file_type, properties, messages=None) -> bool:
        import slicer

        if file_type == "SceneFile":
            return self.saveScene(properties["fileName"], messages)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if not node.GetStorageNode():
            node.AddDefaultStorageNode(properties["fileName"])
        storage = node.GetStorageNode()
        storage.SetFileName(str(properties["fileName"]))
        storage.SetUseCompression(bool(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))

    def saveScene(self, file_name, messages=None) -> bool:
        import slicer

        if str(file_name).endswith(".mrb"):
            return bool(slicer.mrmlScene.WriteToMRB(str(file_name), None, messages))
        slicer.mrmlScene.SetURL(str(file_name))
        slicer.mrmlScene.SetRootDirectory(str(Path(file_name).parent))
        return bool(slicer.mrmlScene.Commit(str(file_name)))

    @staticmethod
    def _load_scene(path: Path, clear: bool, messages) -> bool:
        import slicer

        scene = slicer.mrmlScene
        if path.suffix == ".mrb":
            return bool(scene.ReadFromMRB(str(path), clear, messages))
        scene.SetURL(str(path))
        return bool(scene.Connect() if clear else scene.Import())

    @staticmethod
    def _load_VolumeFile(modules, path: Path, properties):
        options = _SINGLE_FILE * bool(properties.get("singleFile", False))
        options += _LABEL_MAP * bool(properties.get("labelmap", False))
        options += _CENTRED * bool(properties.get("center", False))
        options += _AUTO_WINDOW * bool(properties.get("autoWindowLevel", True))
        options += _DISCARD_ORIENTATION * bool(properties.get("discardOrientation", False))
        name = properties.get("name") or path.name.split(".")[0]
        return modules.volumes.logic().AddArchetypeVolume(str(path), name, options)

    @staticmethod
    def _load_TransformFile(modules, path: Path, _):
        import slicer

        return modules.transforms.logic().AddTransform(str(path), slicer.mrmlScene)

    @staticmethod
    def _load_MarkupsFile(modules, path: Path, properties):
        import slicer

        node_id = modules.markups.logic().LoadMarkups(str(path), properties.get("name") or path.name.split(".")[0])
        return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None

    @staticmethod
    def _load_ModelFile(modules, path: Path, _):
        return modules.models.logic().AddModel(str(path))
