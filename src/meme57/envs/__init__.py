"""Games: their specification, and vector environments of the emulator, of Gymnasium and of the built-in games."""

from meme57.envs.make import agreed_spec, env_spec, foreign_code, make_env, refuse_code
from meme57.envs.spec import EnvSpec, StepResult, VectorEnv

__all__ = ["EnvSpec", "StepResult", "VectorEnv", "agreed_spec", "env_spec", "foreign_code", "make_env", "refuse_code"]
