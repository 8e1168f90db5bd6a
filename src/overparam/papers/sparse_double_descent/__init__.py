"""Sparse Double Descent (He, Xie, Zhu, Qin, 2022): pruning under label noise makes overfitting worse, then better."""
