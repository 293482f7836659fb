"""Checkpoint files: read, check, convert, save; the catalogue of models. Importing this imports no torch."""
