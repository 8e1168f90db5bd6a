"""Which pruning method when: all criteria and patterns on one network at equal density, before and after retraining."""
