"""The way from volumes to slices and back. Knows SimpleITK and numpy, nothing of networks or scenes."""
