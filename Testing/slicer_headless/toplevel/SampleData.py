"""Stands in for Slicer's module SampleData: keeps what is registered, downloads nothing."""


class SampleDataLogic:
    """Registered sources by category."""

    sources = {}

    @classmethod
    def registerCustomSampleDataSource(cls, category="Custom", sampleName=None, **source):
        cls.sources.setdefault(category, {})[sampleName] = source
