"""What a game is: its specification, the emulator's vector environment, and small exploration games of our own."""

from meme57.envs.make import agreed_spec, env_spec, make_env
from meme57.envs.spec import EnvSpec, StepResult, VectorEnv

__all__ = ["EnvSpec", "StepResult", "VectorEnv", "agreed_spec", "env_spec", "make_env"]
