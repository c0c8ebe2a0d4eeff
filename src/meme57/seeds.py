"""Seeds of environments: training's and evaluation's never meet."""

from __future__ import annotations

TRAINING_SEEDS = 2**30
"""Training seeds lie below it, evaluation's do not."""
EVALUATION_SEED = 1_500_000_001
"""The first evaluation seed, unless another is asked for."""
