"""Pruning at initialisation: SNIP, GraSP, SynFlow, Concrete Ticket Search, and what their masks are worth."""
