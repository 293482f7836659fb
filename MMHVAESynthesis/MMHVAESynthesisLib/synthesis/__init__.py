"""The engine: images in, synthetic images out. Joins volumes and network; importing it imports no torch."""
