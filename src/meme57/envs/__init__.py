"""Games: their specification, the emulator's vector environment, and small built-in exploration games."""

from meme57.envs.make import agreed_spec, env_spec, make_env
from meme57.envs.spec import EnvSpec, StepResult, VectorEnv

__all__ = ["EnvSpec", "StepResult", "VectorEnv", "agreed_spec", "env_spec", "make_env"]
