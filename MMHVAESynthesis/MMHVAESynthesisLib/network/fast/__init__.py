"""The network rewritten for inference on a processor: the same numbers to rounding, in less than half of the time.

``fast.model.FastMMHVAE`` is made from a loaded ``network.model.MMHVAE``, which stays the reference and is the one that
learns. Public PyTorch calls, and two undocumented ones that it can do without where they are missing (``norms``). What
was found to pay, each measured by CPU time on one thread:

- One slice at a time, channels-last throughout: the tensors of a slice nearly fit the cache, and oneDNN computes wide
  and depthwise convolutions fastest in this order (``layout``).
- 3x3 convolutions of many channels in 4/9 of the multiplications, which also lose less (``winograd``). Tiles larger
  than 2x2 would save more, but the images then differ from the exact ones by 1.2e-5 to 2.4e-5 instead of 1e-5.
- Instance norm as sums down columns of a matrix whose rows hold many pixels, and one multiply-add, with the SiLU
  behind it in the same pass (``norms``).
- Convolutions of few channels compute several pixels at a time as channels of one strided convolution
  (``convolutions``).
- Weight norms folded once; biases before an instance norm dropped, as that takes them off again; the gates folded into
  the 1x1 convolution behind them (``cells``).
- Only the wanted decoders; no KL terms; for several samples of a slice all that does not depend on the noise once.
"""
