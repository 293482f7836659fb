"""What this machine offers to the work: PyTorch and the devices it finds."""
