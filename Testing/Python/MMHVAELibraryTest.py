"""Runs inside a built Slicer (ctest): the packaged library is whole and loads where torch is not installed yet."""

import importlib
import pkgutil
import sys
import unittest

TORCH_ROOMS = ("network", "synthesis", "registration", "training", "evaluation", "models")


class MMHVAELibraryTest(unittest.TestCase):
    """What only a built package can show: a file that the lists in CMake forgot."""

    def test_torch_free_rooms_import_without_torch(self):
        torch_was_there = "torch" in sys.modules
        library = importlib.import_module("MMHVAESynthesisLib")
        for module in pkgutil.walk_packages(library.__path__, "MMHVAESynthesisLib."):
            room = module.name.split(".")[1]
            if room not in TORCH_ROOMS and room != "__main__":
                importlib.import_module(module.name)
        self.assertEqual("torch" in sys.modules, torch_was_there)


if __name__ == "__main__":
    unittest.main()
