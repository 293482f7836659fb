"""The project's text files, as a package and a catalogue would get them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tracked_files():
    """The files that git tracks, relative to the root."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git does not list the project's files here: {error}")
    return [ROOT / name for name in listing.decode("utf-8").split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def tracked_texts(tracked_files):
    """``{path: text}`` of the tracked files that are text."""
    texts = {}
    for path in tracked_files:
        content = path.read_bytes()
        if b"\0" not in content[:8000]:
            texts[path.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return texts
