"""Studies: search space, objective, samplers, storage; the only import of optuna. Importing this does not import it."""
