"""Learning: the update, the rate limiter, the trainer generator, and offline distillation."""
