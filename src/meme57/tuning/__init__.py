"""Studies: search space, objective, samplers, storage. Only this package imports optuna, and not at its own import."""
