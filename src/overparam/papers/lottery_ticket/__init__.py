"""The Lottery Ticket Hypothesis (Frankle & Carbin, ICLR 2019), late rewinding and linear mode connectivity after it."""
