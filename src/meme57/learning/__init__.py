"""Who learns: the update, the rate limiter, the trainer generator, checkpoints, and offline distillation."""
