"""The groups of parameters, one class each: the type, default, meaning and status of every parameter.

Every default is that of docs/specification.md where it has one; a comment gives its status
(paper, reported, inherited, ours). The networks' groups are in `meme57.agent.parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from meme57.agent.bounds import Count, Discount, Fraction, NonNegative, Positive, Whole
from meme57.config.fields import OPERATIONAL, Alone, FrameSkip, Group, Height, Limit, NoopMax, RunName, Seed, Width
from meme57.config.games import canonical_game, gymnasium_id, is_toy
from meme57.seeds import EVALUATION_SEED, TRAINING_SEEDS


class RunParameters(Group):
    """Which run this is, and how long it lasts."""

    name: RunName | None = None
    """Name of the run, which is in each of its paths; by default `<game>-s<seed>`."""
    seed: Seed = 1
    """Seed of everything random in training."""
    init_from: str | None = None
    """Begin with the weights of another policy: a run, a checkpoint's folder, or `models:/meme57-pong@champion`."""
    fresh: bool = False
    """Remove an existing run of this name and start again."""
    check_resources: bool = True
    """Refuse, in `setup`, a run whose estimate exceeds this machine's disk or memory."""
    exact_resume: bool = False
    """End every episode at each checkpoint, so that on a CPU an interrupted run equals an uninterrupted one."""
    total_frames: Count = 200_000_000
    """Emulator frames to learn from, seed replay included."""
    checkpoint_period_frames: Count = 1_000_000
    """ALE frames between two checkpoints."""
    log_period_frames: Count = 50_000
    """ALE frames between two rows of metrics."""
    keep_checkpoints: Count = 2
    """Number of newest checkpoints to keep, in addition to the best one."""


NO_EMULATOR = {
    "full_action_space": False, "sticky_action_probability": 0.0, "frame_skip": 1, "max_pool": False, "noop_max": 0,
}  # fmt: skip
"""The emulator's settings where there is none."""


class EnvParameters(Group):
    """The whole protocol of the game; no dependency's default decides (MEME's, reported through RECODE)."""

    kind: Annotated[Literal["atari", "toy", "gymnasium"] | None, OPERATIONAL] = None
    """Atari game, built-in small game, or any environment of Gymnasium; by default what `game` or `id` is."""
    game: str = "Breakout"
    """The game; `pong`, `Pong` and `ALE/Pong-v5` are the same. `meme57 games` lists them. With `id`, it is the id."""
    id: str | None = None
    """Gymnasium's id, in the place of `game`: `CartPole-v1`, `MiniGrid-DoorKey-6x6-v0`, `my_package:MyEnv-v0`."""
    wrappers: Annotated[tuple[str, ...], Alone] = ()
    """Wrappers around the environment that `id` names, the innermost first, each as `module:Class`."""
    observation_key: str | None = None
    """The entry that the agent sees, where the observations of `id` are a dictionary."""
    num_envs: Count = 64  # reported: 64 actor processes
    """Environments that play at once."""
    height: Height = 210  # reported: full image
    """Height of the image that the agent sees, in pixels; without effect where `id` shows a vector of numbers."""
    width: Width = 160
    """Width of that image."""
    full_action_space: bool = True  # reported through RECODE
    """All 18 actions; false takes the game's minimal set."""
    sticky_action_probability: Fraction = 0.0  # reported through RECODE
    """Chance that the emulator repeats the previous action; 0.25 is the protocol of Machado et al."""
    frame_skip: FrameSkip = 4  # reported
    """ALE frames for which an action is held."""
    max_pool: bool = True  # reported
    """Take the maximum over the last two frames."""
    noop_max: NoopMax = 30  # reported
    """Upper bound of the random no-ops at the start; ALE draws 0 to this minus 1."""
    max_episode_frames: Count = 108_000  # reported
    """An episode is truncated after so many ALE frames."""
    num_threads: Annotated[Whole, OPERATIONAL] = 1
    """Threads of the emulator pool; 0 takes one per core."""

    @model_validator(mode="before")
    @classmethod
    def _one_game(cls, tree: Any) -> Any:
        """Give the game its canonical name; with `id`, switch the emulator's settings off: a frame is one step."""
        if not isinstance(tree, Mapping):
            return tree
        if isinstance(tree.get("id"), str):
            return {**tree, **NO_EMULATOR, "game": gymnasium_id(tree["id"])}
        return {**tree, "game": canonical_game(tree["game"])} if isinstance(tree.get("game"), str) else tree

    @model_validator(mode="after")
    def _kind_is_that_of_the_game(self) -> EnvParameters:
        found = "toy" if is_toy(self.game) else "atari"
        if self.kind == "gymnasium" and self.id is None:
            raise ValueError("env.kind=gymnasium needs env.id, such as CartPole-v1 or my_package:MyEnv-v0")
        if self.id is not None and self.kind not in (None, "gymnasium"):
            raise ValueError(f"env.id={self.id} is of Gymnasium, not of env.kind={self.kind}: leave one of them out")
        if self.id is None and self.kind not in (None, found):
            raise ValueError(f"env.game={self.game} is no game of env.kind={self.kind}: leave env.kind out")
        if self.id is None and (self.wrappers or self.observation_key is not None):
            raise ValueError("env.wrappers and env.observation_key are for environments of Gymnasium: give env.id")
        return self


class FamilyParameters(Group):
    """The N policies (docs/specification.md section 1)."""

    num_policies: Annotated[int, Field(ge=1, le=256)] = 16  # reported
    """N, the number of policies."""
    gamma_max: Discount = 0.9997  # reported
    """Discount of policy 0, the exploiting one."""
    gamma_min: Discount = 0.97  # reported
    """Discount of policy N - 1, the most exploring one."""
    beta_max: NonNegative = 0.1  # ours
    """Weight of the intrinsic value of policy N - 1."""


class LossParameters(Group):
    """Targets and losses (docs/specification.md section 3); every component is a switch."""

    target: Literal["soft_watkins", "retrace", "q_lambda"] = "soft_watkins"  # paper: soft Watkins
    """How targets are computed; `retrace` and `q_lambda` are for comparison."""
    lambda_: Fraction = Field(default=0.95, alias="lambda")  # reported
    """Lambda of the trace."""
    kappa: Limit = 0.01  # reported
    """Tolerance of the trace: the taken action may be worse than the policy's by this much."""
    target_temperature: Positive = 0.25  # reported
    """Temperature of the target policy."""
    advantage_alpha: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # ours
    """Alpha of advantage learning, which widens the gaps between actions 1 / (1 - alpha) times; 0 is none."""
    bootstrap: Literal["online", "target"] = "online"  # paper: A1
    """Network whose values the targets use."""
    trust_region: bool = True  # paper: A1
    """Drop the value loss where the online value has left the trust region."""
    trust_region_alpha: Limit = 3.0  # reported
    """Width of the trust region, in units of sigma."""
    normalise_td: bool = True  # paper: B1
    """Divide TD errors by sigma."""
    sigma_floor: Positive = 0.01  # paper
    """Smallest sigma."""
    sigma_decay: Discount = 0.99  # ours
    """Decay of the running TD moments, a batch."""
    cross_mixture: bool = True  # paper: B2
    """Train all policies on each sequence; false trains the one that acted."""
    cross_mixture_eta: Fraction = 0.5  # reported
    """Share of the policy that acted."""
    distil_policy: bool = True  # paper: D. Off: act and bootstrap on the eps-greedy policy of Q
    """Train policy heads on the values, and act with them."""
    distillation_weight: NonNegative = 1.0  # ours
    """Weight of the distillation loss in the total."""
    distillation_epsilon: Fraction = 1e-4  # reported
    """Epsilon of the eps-greedy policy that the heads are trained on."""
    max_kl: Limit = 0.5  # reported
    """Distillation drops a step if its KL divergence from the target network's policy exceeds this."""
    dynamics_weight: NonNegative = 1.0  # ours
    """Weight of the losses of the model of the next steps, where `network.dynamics_size` makes one."""
    dynamics_steps: Count = 5  # ours
    """Steps that this model looks ahead."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class BanditParameters(Group):
    """Sliding-window UCB over the policies (docs/specification.md section 5)."""

    enabled: bool = True
    """Off: policies are drawn uniformly."""
    scope: Literal["environment", "shared"] = "environment"  # ours
    """One bandit per environment, or one for all environments of the run."""
    window: Count = 160  # inherited
    """Episodes that the bandit remembers."""
    ucb_beta: NonNegative = 1.0  # inherited
    """Weight of the bonus for arms tried seldom."""
    epsilon: Fraction = 0.5  # inherited
    """Chance that the policy is drawn uniformly."""


class ReplayParameters(Group):
    """Prioritised sequence replay (docs/specification.md section 3)."""

    period: Annotated[int, Field(ge=2)] = 80  # paper; a sequence is two periods
    """Steps of a chunk."""
    capacity_sequences: Count = 200_000  # reported
    """Number of sequences held; the oldest are dropped."""
    min_sequences: Count = 6_250  # ours: warm-up before the first update
    """Sequences before the first update."""
    samples_per_insert: Positive = 6.0  # reported
    """Sequences drawn for each one inserted; a rate limiter keeps this ratio."""
    priority_exponent: Fraction = 0.6  # ours
    """Exponent of the priorities; 0 draws uniformly."""
    importance_exponent: Fraction = 0.4  # ours
    """Exponent of the importance weights; 0 is none."""
    priority_eta: Fraction = 0.9  # inherited
    """Weight of the largest error against the mean one in a priority."""

    @model_validator(mode="after")
    def _warm_up_fits(self) -> ReplayParameters:
        if self.min_sequences > self.capacity_sequences:
            raise ValueError(
                f"replay.min_sequences={self.min_sequences} is more than "
                f"replay.capacity_sequences={self.capacity_sequences}: updates would never start"
            )
        return self


class ActorParameters(Group):
    """Who collects (docs/specification.md section 5)."""

    pool: Literal["local", "ray"] = "local"
    """Play in this process, or on the workers of the group `ray` (docs/scaling.md)."""
    groups: Count = 2  # ours
    """Groups of environments that take turns: while one's emulators step, the next one acts."""
    epsilon_base: Fraction = 0.4  # inherited
    """Base of the ladder of exploration rates over environments."""
    epsilon_alpha: NonNegative = 7.0  # inherited
    """Exponent of that ladder."""
    temperature: NonNegative = 0.0  # ours
    """Draw training actions from the distilled policy at this temperature; 0 takes the best one."""
    noise_steps: Count = 1  # ours
    """Repeat drawn actions by keeping their noise, for so many steps on average where the policy is uniform."""
    terminal_on_life_loss: bool = False  # ours: as in DER, SPR and BBF
    """Learn as if a lost life ended the episode; play goes on. Scores are always of whole games."""
    weights_period_steps: Count = 100
    """Vector steps between two refreshes of the acting weights."""


class RayParameters(Group):
    """Actors on Ray, and their timeouts. They are no part of a run's fingerprint, so a cluster may grow."""

    workers: Count = 2
    """Actors; each plays its share of `env.num_envs` with a copy of the policy."""
    cpus_per_worker: Positive = 1.0
    """CPUs that Ray reserves for an actor, or for a worker of a study with `tune.executor: ray`."""
    gpus_per_worker: NonNegative = 0.0
    """GPUs that Ray reserves for an actor or such a worker. With 0 an actor acts on the CPU."""
    rounds_in_flight: Annotated[int, Field(ge=1, le=8)] = 2
    """Rounds of `actors.weights_period_steps` that are queued for an actor; it waits once all are done."""
    timeout_seconds: Positive = 20.0
    """An actor that is silent for so long counts as lost; set it to several times the duration of a round."""
    start_seconds: Positive = 120.0
    """An actor that does not start within this time is requested again."""
    max_staleness_updates: Count = 1000
    """A chunk is dropped if its weights are more updates behind than this."""
    object_store_mb: Annotated[int, Field(ge=80)] = 500
    """Object store of a cluster that the run starts; a cluster that RAY_ADDRESS names has its own."""


class LearnerParameters(Group):
    """The optimiser and the loop."""

    mode: Literal["synchronous", "overlapped"] = "synchronous"
    """Collect and learn in turn (`synchronous`, reproducible on a CPU), or at once in threads (`overlapped`)."""
    batch_size: Count = 64  # reported
    """Sequences per batch."""
    learning_rate: Positive = 3e-4  # ours
    """AdamW's rate."""
    adam_eps: Positive = 1e-8  # ours
    """AdamW's epsilon."""
    weight_decay: NonNegative = 0.05  # ours
    """Decay of matrices and kernels; biases and gains have none."""
    max_gradient_norm: Positive = 40.0  # inherited
    """Global norm to which gradients are clipped."""
    target_period_updates: Count = 1500  # inherited
    """Updates between two copies of the weights to the target network."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the networks' arithmetic in learning."""
    shift_pixels: Whole = 0  # ours
    """Move the pictures of each training sequence, all by the same random number of pixels, up to this many."""
    torch_threads: Annotated[Count, OPERATIONAL] = 1
    """Threads of torch."""
    max_bad_updates: Annotated[Count, OPERATIONAL] = 10
    """The run stops after so many updates in a row with a non-finite loss or gradient."""
    select_checkpoint: Literal["best", "newest"] = "best"
    """The checkpoint that is distilled, scored and registered: the best one, or the newest as benchmarks want it."""
    evaluation_episodes: Annotated[Whole, OPERATIONAL] = 0
    """Greedy episodes at each checkpoint, which select the best one; 0 selects by policy 0's training returns."""


class DistillParameters(Group):
    """The offline student."""

    lstm_size: Count = 64
    """Units of the student's LSTM."""
    channels: tuple[Count, Count] = (16, 32)
    """Channels of the student's two convolutions."""
    updates: Count = 4_000
    """Updates of the student."""
    batch_size: Count = 16
    """Sequences per batch of the student."""
    learning_rate: Positive = 2e-3
    """The student's learning rate."""
    temperature: Positive = 0.25
    """Temperature of the teacher's preferences."""
    on_policy_share: Fraction = 0.8
    """Share of the training batches that come from the student's own play, labelled by the teacher."""
    num_envs: Count = 16
    """Environments of the student's own play, and greedy episodes that measure fidelity."""
    fidelity_steps: Count = 2_000
    """Steps of the student's play on which fidelity is measured."""


USED_SEEDS = (
    (1_600_000_001, 1_600_010_000, "chose the checkpoint"),
    (1_800_000_001, 1_801_010_000, "the student learned from"),
)
"""First and last seeds from `evaluate.seed`'s range that a run plays before it is scored, and what for."""


class EvaluateParameters(Group):
    """The final score (docs/evaluation.md)."""

    protocol: Literal["as_trained", "paper", "sticky", "noop30"] = "as_trained"
    """The game's settings in evaluation: the same rules as in training, or a published protocol's."""
    bandit_policy: bool = True
    """Also play the policy with the highest recent returns in the bandit at the checkpoint."""
    episodes: Annotated[int, Field(ge=2)] = 100
    """Number of whole episodes that each agent plays."""
    num_envs: Count = 32
    """Environments that evaluation plays at once."""
    seed: Annotated[int, Field(ge=TRAINING_SEEDS, lt=2**31 - 10_000)] = EVALUATION_SEED
    """First evaluation seed; each environment has its own. Training seeds lie below 2^30, so these are fresh."""
    epsilon: Fraction = 0.0
    """Chance of a uniform action in evaluation; random play ignores it."""
    temperature: NonNegative = 0.0  # ours
    """Draw the actions of scored games from the distilled policy at this temperature; 0 takes the best one."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Confidence of the intervals."""
    bootstrap_repetitions: Count = 2_000
    """Bootstrap repetitions."""
    video_seconds: Annotated[NonNegative, OPERATIONAL] = 60.0
    """Length of the film in seconds, at the console's 60 frames per second."""

    @model_validator(mode="after")
    def _seeds_are_fresh(self) -> EvaluateParameters:
        for first, last, use in USED_SEEDS:
            if first <= self.seed + self.num_envs and self.seed <= last:
                raise ValueError(f"evaluate.seed={self.seed} would score the games that {use}: take another")
        return self


class RegisterParameters(Group):
    """The champion rule (docs/architecture.md)."""

    margin: NonNegative = 0.0
    """A challenger must be shown to score more than the champion by this much."""


class TrackingParameters(Group):
    """Where runs are recorded."""

    experiment: Annotated[str, Field(min_length=1)] = "meme57"
    """MLflow experiment; an experiment named in `conf/base/mlflow.yml` takes precedence."""
    system_metrics: bool = True
    """Record processor, memory, disk, network and GPU of the machine in MLflow, every ten seconds."""
    tensorboard: bool = False
    """Also write the metrics as TensorBoard files, under the same names and steps, into the run's reporting folder."""
