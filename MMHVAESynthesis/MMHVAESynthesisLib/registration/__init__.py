"""Registration of pre-operative MR to the ultrasound, through the synthetic MR: images in, a transform out.

Fixed is the synthetic MR, which lies on the ultrasound; moving is the pre-operative MR of the same contrast.
``engine.register`` is the one public call. PyTorch is imported only when the LNCC engine runs.
"""
