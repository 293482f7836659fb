"""The project's example case in Slicer's module Sample Data: a phantom's simulated iUS, and its pre-operative MR.

``Testing/sample_data.py`` makes the files, which lie in the repository. They are two samples since the MR does not lie
on the ultrasound: one is to synthesise from, the other to be registered.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

import slicer

log = logging.getLogger(__name__)

ICONS = Path(__file__).resolve().parents[2] / "Resources" / "Icons"
URL = "https://raw.githubusercontent.com/mmhvae/SlicerMMHVAE/main/Resources/SampleData/"
CATEGORY = "MMHVAE"


@dataclass(frozen=True)
class SampleFile:
    """One volume: what it is, its file's name in the repository and in Slicer's cache, its digest, its node's name."""

    modality: str
    name: str
    sha256: str
    node: str


@dataclass(frozen=True)
class Sample:
    """One button of Sample Data; ``name`` is what ``SampleData.downloadSamples`` takes."""

    name: str
    thumbnail: str
    files: Tuple[SampleFile, ...]


SAMPLES = (
    Sample(
        "MMHVAE phantom iUS",
        "SampleUltrasound.png",
        (
            SampleFile(
                "us",
                "MMHVAE-phantom-4-iUS.nrrd",
                "ebcc3d7ec5ea5c8afc71916aeabe6302238fead20c0da05e1f1a8fb44ff5cb07",
                "Phantom iUS",
            ),
        ),
    ),
    Sample(
        "MMHVAE phantom MR",
        "SampleMR.png",
        (
            SampleFile(
                "t2",
                "MMHVAE-phantom-1-T2.nrrd",
                "4bc89492267f283ae8a4ece4ec5afac8e3fc756c6742446e38ac9d69755f648f",
                "Phantom preop T2",
            ),
            SampleFile(
                "cet1",
                "MMHVAE-phantom-1-ceT1.nrrd",
                "0e569b4641e399df50f67bc0d9edc2cc23061d0681b5aed6921ce1328a215daa",
                "Phantom preop ceT1",
            ),
            SampleFile(
                "flair",
                "MMHVAE-phantom-1-FLAIR.nrrd",
                "56a5f7a1b030197ead15a7aafa2fc2c7c9c59fe52e9a0894f813c8a2065a9c54",
                "Phantom preop FLAIR",
            ),
        ),
    ),
)


def register() -> None:
    """Add the samples to Sample Data, once; nothing happens in a Slicer that was built without that module."""
    try:
        import SampleData
    except ImportError:
        log.info("This Slicer has no module Sample Data: the example case is not offered.")
        return
    if CATEGORY in getattr(slicer.modules, "sampleDataSources", {}):
        return
    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and later
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    for sample in SAMPLES:
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.name,
            thumbnailFileName=str(ICONS / sample.thumbnail),
            uris=[URL + each.name for each in sample.files],
            fileNames=[each.name for each in sample.files],
            nodeNames=[each.node for each in sample.files],
            checksums=[f"SHA256:{each.sha256}" for each in sample.files],
        )
