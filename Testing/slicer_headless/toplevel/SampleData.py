"""Stands in for Slicer's module SampleData: registers sources, downloads into a cache, verifies, loads volumes."""

from types import SimpleNamespace

import slicer


class SampleDataLogic:
    """Registered sources by category, each once; ``register...`` takes the words of Slicer 5.8 and no others."""

    sources = {}

    @classmethod
    def registerCustomSampleDataSource(
        cls,
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType="VolumeFile",
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
    ):
        words = {name: value for name, value in locals().items() if name not in ("cls", "category")}
        if len({len(words[name]) for name in ("uris", "fileNames", "nodeNames", "checksums")}) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        registered = cls.sources.setdefault(category, [])
        source = SimpleNamespace(**words)
        if source not in registered:
            registered.append(source)

    @classmethod
    def downloadSamples(cls, sampleName):
        """Return the nodes of a sample; none for a name that is not known, as in Slicer."""
        sources = [source for known in cls.sources.values() for source in known if source.sampleName == sampleName]
        return [
            cls._load(*file)
            for source in sources
            for file in zip(source.uris, source.fileNames, source.nodeNames, source.checksums)
        ]

    @staticmethod
    def _load(uri, file_name, node_name, checksum):
        cached = f"{slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()}/{file_name}"
        if not slicer.util.downloadFile(uri, cached, checksum):
            raise ValueError(f"Failed to download {uri} to {cached}")
        node = slicer.util.loadVolume(cached, {"name": node_name})
        # The cache may be emptied: nothing is to be saved there.
        slicer.mrmlScene.RemoveNode(node.GetStorageNode())
        return node
