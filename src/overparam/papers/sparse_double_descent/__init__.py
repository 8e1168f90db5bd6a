"""Sparse Double Descent (He et al., 2022): pruning makes overfitting to noisy labels worse, then better."""
