"""MMHVAE: synthesis of missing intra-operative ultrasound and MR, and registration through it.

The rooms of this library and who may know whom are described in the developer notes of the README.
Importing the package imports nothing else.
"""

__version__ = "0.1.0"

SOFTWARE = "MMHVAE for 3D Slicer"
"""What this software is called in records and reports."""
