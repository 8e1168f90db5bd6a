"""Learning both Weights and Connections for Efficient Neural Networks (Han et al., 2015): prune, then train again."""
