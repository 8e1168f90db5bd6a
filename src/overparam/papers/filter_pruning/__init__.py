"""Pruning Filters for Efficient ConvNets (Li et al., 2017): filters with the smallest L1 norms go as a whole."""
