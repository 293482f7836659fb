"""Virtual probe sweeps and simulated intra-operative ultrasound from MR. Needs numpy, scipy and SimpleITK, no torch."""
