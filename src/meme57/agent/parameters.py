"""The networks' parameters, each defined once. The configuration nests them; they are stored with the weights.

A comment behind a default gives its status (docs/specification.md): paper, reported, inherited or ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from meme57.agent.bounds import Bound, Count, Discount, Finite, NonNegative, Positive, Whole

STRICT = {"extra": "forbid"}
"""For Pydantic: an unknown name is refused."""


@dataclass(frozen=True, kw_only=True)
class NetworkParameters:
    """Torso, LSTM and heads (docs/specification.md section 2)."""

    __pydantic_config__ = STRICT  # no annotation: no field

    torso: str = "nfnet"  # paper: NFNet
    """What reads the frame: `nfnet` is MEME's, `impala` and `nature` are IMPALA's and DQN's, `small` has two
    convolutions, `mlp` is for vectors.

    A class of yours is `my_package.my_torso:MyTorso` (docs/changing.md).
    """
    nfnet_widths: tuple[Count, ...] = (64, 128, 128, 64)  # ours
    """Channels of each NFNet stage."""
    nfnet_blocks: Count = 2  # ours
    """Residual blocks per stage."""
    nfnet_group_width: Count = 32  # ours
    """Channels per group of the grouped convolutions."""
    impala_channels: tuple[Count, ...] = (16, 32, 32)  # ours: as in IMPALA
    """Channels of the impala torso's stages; each halves the picture and has two residual blocks."""
    lstm_size: Count = 512  # reported
    """Units of the one LSTM."""
    head_size: Count = 512  # inherited (value), reported (policy)
    """Hidden units of each value head and policy head."""
    feature_size: Count = 256  # paper: non-image features
    """Size of the layer for the non-image inputs."""
    action_embedding_size: Count = 32  # paper
    """Size of the previous action's embedding."""
    small_channels: tuple[Count, Count] = (16, 32)  # ours
    """Channels of the small torso's two convolutions."""
    mlp_sizes: tuple[Count, ...] = (128, 128)  # ours
    """Units of the mlp torso's layers."""
    dynamics_size: Whole = 0  # ours: as in SPR and MR.Q
    """Units of the model that predicts the next rewards and LSTM outputs, a loss alone; 0 is no model."""
    normalise_heads: bool = True  # ours: standardise the heads' hidden layers, so that their units do not die
    """Standardise the heads' hidden layers before their ReLU, so that their units do not die."""
    balance_inputs: bool = True  # ours: the picture weighs as much as the other features, so that gates do not saturate
    """Scale the torso's output to the norm of the other features, so that the LSTM's gates do not saturate."""
    centre_frames: bool = True  # ours: subtract the mean frame of the untrained agent
    """Centre and scale the frames before the network sees them."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(NetworkParameters):
    """Everything that fixes the shapes of the network; stored with its weights."""

    height: int
    width: int
    num_actions: int
    frame_dtype: str = "uint8"
    """uint8 images, or float32 for a vector of `width` numbers."""
    num_policies: int
    embedding_size: int
    acting_betas: tuple[float, ...] | None = None
    """If given, policy j acts on Qe_j + beta_j Qi_j; else on its distilled policy."""


@dataclass(frozen=True, kw_only=True)
class NoveltyParameters:
    """NGU's intrinsic reward (docs/specification.md section 4)."""

    __pydantic_config__ = STRICT  # no annotation: no field

    enabled: bool = True
    """Use the intrinsic reward; false sets it and all betas to 0."""
    embedding_size: Count = 32  # inherited
    """Numbers in an episodic embedding."""
    num_neighbours: Count = 10  # inherited
    """k nearest neighbours in the episode's memory."""
    memory_size: Count = 30_000  # inherited
    """Embeddings that the episodic memory holds; it is a ring."""
    kernel_eps: Positive = 1e-4  # inherited
    """Epsilon of the kernel."""
    cluster_distance: NonNegative = 0.008  # inherited
    """xi, which is subtracted from a normalised distance."""
    pseudo_count: Positive = 1e-3  # inherited
    """Constant added to the similarity."""
    max_similarity: Positive = 8.0  # inherited
    """Above this similarity the episodic reward is 0."""
    max_modulation: Annotated[Finite, Bound(ge=1.0)] = 5.0  # inherited: L
    """L, the largest lifelong factor."""
    rnd_size: Count = 128  # inherited
    """Outputs of the RND networks."""
    channels: tuple[Count, Count] = (16, 32)  # ours
    """Channels of the novelty networks' two convolutions."""
    hidden_size: Count = 128  # inherited
    """Hidden units of the inverse-dynamics network."""
    learning_rate: Positive = 5e-4  # inherited
    """Adam's rate for both networks."""
    train_steps: Count = 5  # inherited: the last steps of each sequence
    """Steps at the end of each sequence that train both networks."""
    renew_embedding: bool = False  # ours
    """Feed the policy the embedding by the newest weights, in acting and learning, not by those of the episode."""
    distance_decay: Discount = 0.99  # ours
    """Decay of the running mean distance, per vector step."""


@dataclass(frozen=True, kw_only=True)
class NoveltySpec(NoveltyParameters):
    """Shapes and constants of the intrinsic reward; stored with its weights."""

    height: int
    width: int
    num_actions: int
    frame_dtype: str = "uint8"
