"""The MMHVAE network and the discriminator of its training. Tensors only.

Dorent et al., "Unified Cross-Modal Image Synthesis with Hierarchical Mixture of Product-of-Experts",
IEEE TPAMI 2025 (arXiv 2410.19378); forerunner: MICCAI 2023 (arXiv 2309.08747).
"""
