"""Training: cases, batches, losses, the loop, its state and curves.

Dorent et al., "Unified Cross-Modal Image Synthesis with Hierarchical Mixture of Product-of-Experts",
IEEE TPAMI 2025 (arXiv 2410.19378), eq. 17-19 and section 4.
"""
