"""Deconstructing Lottery Tickets (Zhou et al., 2019): zeros, signs and the supermask."""
