"""What a game is: its specification, and the vector environments: the emulator's, our own small ones, Gymnasium's."""

from meme57.envs.make import agreed_spec, env_spec, make_env, refuse_code
from meme57.envs.spec import EnvSpec, StepResult, VectorEnv

__all__ = ["EnvSpec", "StepResult", "VectorEnv", "agreed_spec", "env_spec", "make_env", "refuse_code"]
