"""Rethinking the Value of Network Pruning (Liu et al., ICLR 2019): is it the weights that count, or the shape?"""
