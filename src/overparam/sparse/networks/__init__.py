"""Whole modules: which of their layers may be sparse, and how they are computed together."""
