"""Second-order pruning: Optimal Brain Damage, Optimal Brain Surgeon, and what became of them at today's scale."""
