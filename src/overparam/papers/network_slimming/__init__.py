"""Network Slimming (Liu et al., 2017): the scales of batch norms say which neurons and filters can go."""
