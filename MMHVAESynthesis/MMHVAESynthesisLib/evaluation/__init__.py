"""Evaluation: PSNR, SSIM and LPIPS a slice, the paper's tables, baselines, latent and temperature pictures."""
