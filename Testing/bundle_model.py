"""Put a trained model into the extension as the demonstrator, the default model.

::

    python3 Testing/bundle_model.py FILE.safetensors

Copies the file to ``Resources/Models/demonstrator.safetensors`` of the module and writes its size and digest into the
catalogue. Its card, ``demonstrator.md`` beside it, is written by hand: bring the figures up to date.
"""

import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "MMHVAESynthesis"))

from MMHVAESynthesisLib.models.catalogue import RESOURCES, sha256  # noqa: E402
from MMHVAESynthesisLib.models.header import read_header  # noqa: E402

NAME = "demonstrator"
LARGEST = 8_000_000


def entry(path, header):
    """Return the catalogue's entry for a model file."""
    about = f"{header.sizes.size} x {header.sizes.size} at {header.spacing:g} mm"
    return {
        "name": NAME,
        "title": f"Demonstrator, early stage: small, trained on public data ({about})",
        "file": f"{NAME}.safetensors",
        "bundled": True,
        "sha256": sha256(path),
        "size": path.stat().st_size,
        "licence": header.licence,
        "permissive": False,
        "source": "trained with this software; see its card",
        "card": f"{NAME}.md",
    }


def main():
    """Bundle the file that the command line names."""
    path = Path(sys.argv[1])
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {LARGEST} are bundled.")
    header, _ = read_header(path)
    target, listing = RESOURCES / f"{NAME}.safetensors", RESOURCES / "catalogue.json"
    shutil.copyfile(path, f"{target}.part")
    os.replace(f"{target}.part", target)
    catalogue = json.loads(listing.read_text(encoding="utf-8"))
    others = [model for model in catalogue["models"] if model["name"] != NAME]
    catalogue.update(default=NAME, models=[entry(target, header), *others])
    listing.write_text(json.dumps(catalogue, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
