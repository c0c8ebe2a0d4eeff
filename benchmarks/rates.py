"""How often intervals contain the truth, and how often the champion rule and a study's verdict err, by simulation.

    python benchmarks/rates.py [--repetitions 20000] [--before]

Prints the tables of docs/evaluation.md, docs/registry.md and docs/tuning-measured.md. `--before` uses the rules until
commit d84c7c6: percentile bootstraps, and a challenger's interval compared with the champion's mean as if that were
exact.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy import stats

from meme57.config.tuning import TuneParameters
from meme57.evaluation import aggregates
from meme57.evaluation.statistics import mean_interval
from meme57.intervals import mean_of
from meme57.tracking.promotion import ERROR, Sample, compare
from meme57.tuning.evidence import shown

Array = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

RETURNS: dict[str, Draw] = {
    "Gaussian": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "exponential, to the left": lambda rng, shape: -rng.exponential(size=shape),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape),
    "0 or 1": lambda rng, shape: rng.integers(2, size=shape) * 1.0,
    "0, rarely 1 (5 %)": lambda rng, shape: (rng.random(shape) < 0.05) * 1.0,
    "one value": lambda rng, shape: np.full(shape, 32.0),
}
DEVIATIONS = {"lognormal": 2.1612, "0 or 1": 0.5, "0, rarely 1 (5 %)": 0.2179}
"""Standard deviations that are not 1."""
MEANS = {"exponential": 1.0, "exponential, to the left": -1.0, "lognormal": float(np.exp(0.5)), "0 or 1": 0.5,
         "0, rarely 1 (5 %)": 0.05, "one value": 32.0}  # fmt: skip
BOOTSTRAP = 500
CHUNK = 500


# ---- the champion rule


def promoted(challenger: Array, champion: Array, challenge: int) -> Array:
    """Apply the champion rule to returns [R, n] and [R, m] -> [R]."""
    ours, theirs = (Sample(x.mean(-1), x.std(-1), x.shape[-1]) for x in (challenger, champion))
    won: Array = compare(ours, theirs, challenge=challenge).exceeds(0.0)
    return won


def promoted_before(challenger: Array, champion: Array, challenge: int) -> Array:
    """Test whether the low end of the challenger's percentile bootstrap interval is above the champion's mean."""
    won: Array = percentiles(challenger)[0] > champion.mean(-1)
    return won


def promoted_by_welch(challenger: Array, champion: Array, challenge: int) -> Array:
    """Apply Welch's test at the same error rates, which lets the larger sample count in full."""
    found = stats.ttest_ind(challenger, champion, axis=-1, equal_var=False, alternative="greater")
    won: Array = found.pvalue < ERROR / (challenge * (challenge + 1))
    return won


def false_promotions(
    draw: Draw, rng: np.random.Generator, *, champion: int, challenger: int, repetitions: int, challenges: int = 10,
    rule: Callable[[Array, Array, int], Array] = promoted,
    constant: float | None = None,
) -> float:  # fmt: skip
    """Estimate the share of champions that are replaced by one of `challenges` equal challengers.

    With `constant`, champions always score that value: the mean of `draw` is as good, but another distribution.
    """
    crowned = draw(rng, (repetitions, champion)) if constant is None else np.full((repetitions, champion), constant)
    replaced = np.zeros(repetitions, bool)
    for challenge in range(1, challenges + 1):
        replaced |= rule(draw(rng, (repetitions, challenger)), crowned, challenge)
    return float(replaced.mean())


def power(
    draw: Draw, rng: np.random.Generator, *, episodes: int, gain: float, challenge: int, repetitions: int,
    rule: Callable[[Array, Array, int], Array] = promoted,
) -> float:  # fmt: skip
    """Estimate the share of challengers that are promoted when they are `gain` points better."""
    shape = (repetitions, episodes)
    return float(rule(draw(rng, shape) + gain, draw(rng, shape), challenge).mean())


# ---- a study's verdict


def false_better(
    draw: Draw, rng: np.random.Generator, *, seeds: int, repetitions: int, scales: tuple[float, ...] = (1.0,)
) -> float:
    """Estimate the share of studies that call equal settings better; `scales` has one scale per game."""
    gain = _gains(draw, rng, seeds, repetitions, scales)
    return float((shown(mean_of(gain.mean(axis=1)), TuneParameters().confidence) == 1).mean())


def false_better_before(
    draw: Draw, rng: np.random.Generator, *, seeds: int, repetitions: int, scales: tuple[float, ...] = (1.0,)
) -> float:
    """Estimate the same with a percentile bootstrap of the seeds within each game."""
    gain = _gains(draw, rng, seeds, repetitions, scales)
    low = [
        np.quantile(
            np.mean([game[rng.integers(seeds, size=(BOOTSTRAP, seeds))].mean(-1) for game in study], axis=0), 0.025
        )
        for study in gain
    ]
    return float((np.array(low) > 0).mean())


def _gains(draw: Draw, rng: np.random.Generator, seeds: int, repetitions: int, scales: tuple[float, ...]) -> Array:
    """Draw paired differences of equal settings [R, games, seeds]."""
    shape = (repetitions, len(scales), seeds)
    gains: Array = (draw(rng, shape) - draw(rng, shape)) * np.array(scales)[:, None]
    return gains


# ---- intervals


def mean_coverage(name: str, rng: np.random.Generator, *, n: int, repetitions: int) -> float:
    """Estimate how often `mean_interval` contains the mean of n values."""
    mean, held = MEANS.get(name, 0.0), 0
    for values in RETURNS[name](rng, (repetitions, n)):
        interval = mean_interval(values, repetitions=BOOTSTRAP, confidence=0.95, seed=0)
        assert interval is not None
        held += interval.low <= mean <= interval.high
    return held / repetitions


def mean_coverage_before(name: str, rng: np.random.Generator, *, n: int, repetitions: int) -> float:
    """Estimate how often the percentile bootstrap's interval contains it."""
    mean, (low, high) = MEANS.get(name, 0.0), percentiles(RETURNS[name](rng, (repetitions, n)))
    return float(((low <= mean) & (mean <= high)).mean())


def aggregate_coverage(rng: np.random.Generator, *, games: int, seeds: int, repetitions: int) -> dict[str, float]:
    """Estimate how often each aggregate's interval contains its expectation, on games of different level and scale."""
    level, scale = np.linspace(-0.2, 2.0, games), np.linspace(0.1, 1.0, games)

    def suite(number: int) -> list[dict[str, Array]]:
        runs = level[:, None] + scale[:, None] * rng.normal(size=(number, games, seeds))
        return [{str(game): row for game, row in enumerate(one)} for one in runs]

    expected = {
        name: np.mean([aggregates.aggregate(scores)[name] for scores in suite(4000)]) for name in aggregates.STATISTICS
    }
    held = dict.fromkeys([*aggregates.STATISTICS, "improvement"], 0)
    counts = dict(held)
    for scores, others in zip(suite(repetitions), suite(repetitions), strict=True):
        found = aggregates.aggregate_intervals(scores, repetitions=BOOTSTRAP, confidence=0.95, seed=0)
        found["improvement"] = aggregates.improvement_interval(
            scores, others, repetitions=BOOTSTRAP, confidence=0.95, seed=0
        )
        for name, interval in found.items():
            if interval is not None:
                counts[name] += 1
                held[name] += int(interval.low <= expected.get(name, 0.5) <= interval.high)
    return {name: held[name] / max(1, counts[name]) for name in held}


def percentiles(values: Array) -> tuple[Array, Array]:
    """Compute the 95 % percentile bootstrap interval of each mean: [R, n] -> low and high [R]."""
    rng, n, ends = np.random.default_rng(0), values.shape[-1], []
    for rows in np.split(values, range(CHUNK, len(values), CHUNK)):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=BOOTSTRAP)  # how often each value is drawn
        ends.append(np.quantile(rows @ counts.T / n, [0.025, 0.975], axis=-1))
    low, high = np.concatenate(ends, axis=-1)
    return low, high


# ---- tables


def gate_table(rng: np.random.Generator, repetitions: int, before: bool) -> str:
    """Tabulate false promotions over ten equal challengers, by the episodes of champion and challenger."""
    rule = promoted_before if before else promoted
    sizes = ((32, 32), (100, 100), (8, 8), (2, 2), (100, 32), (32, 100))
    rows = (
        (name, *(
            false_promotions(draw, rng, champion=n, challenger=m, repetitions=repetitions, rule=rule) for n, m in sizes
        ))
        for name, draw in RETURNS.items()
    )  # fmt: skip
    return _table(["returns", *(f"{n} and {m}" for n, m in sizes)], rows)


def welch_table(rng: np.random.Generator, repetitions: int) -> str:
    """Tabulate false promotions if the two samples have different sizes and count in full."""
    sizes = ((100, 32), (32, 100))
    rows = (
        (name, *(
            false_promotions(draw, rng, champion=n, challenger=m, repetitions=repetitions, rule=promoted_by_welch)
            for n, m in sizes
        ))
        for name, draw in RETURNS.items() if name != "one value"
    )  # fmt: skip
    return _table(["returns", *(f"{n} and {m}" for n, m in sizes)], rows)


def constant_table(rng: np.random.Generator, repetitions: int) -> str:
    """Tabulate false promotions over a champion whose return never varies."""
    rows = (
        (name, *(
            false_promotions(RETURNS[name], rng, champion=n, challenger=n, repetitions=repetitions,
                             constant=MEANS.get(name, 0.0))
            for n in (32, 100)
        ))
        for name in ("Gaussian", "exponential", "exponential, to the left")
    )  # fmt: skip
    return _table(["challengers' returns", "n 32", "n 100"], rows)


def power_table(rng: np.random.Generator, repetitions: int, before: bool) -> str:
    """Tabulate promotions of challengers that are one and two standard deviations better, as first and as tenth."""
    rule = promoted_before if before else promoted
    cases = [(n, gain, k) for n, gain in ((16, 2), (32, 2), (100, 2), (32, 1)) for k in (1, 10)]
    rows = (
        (name, *(
            power(RETURNS[name], rng, episodes=n, gain=gain * DEVIATIONS.get(name, 1.0), challenge=k,
                  repetitions=repetitions, rule=rule)
            for n, gain, k in cases
        ))
        for name in ("Gaussian", "exponential", "exponential, to the left", "lognormal")
    )  # fmt: skip
    return _table(["returns", *(f"n {n}, {gain} sd, challenge {k}" for n, gain, k in cases)], rows)


def study_table(rng: np.random.Generator, repetitions: int, before: bool) -> str:
    """Tabulate how often a study calls equal settings better, by seeds and games."""
    rule = false_better_before if before else false_better
    cases = [(seeds, scales) for seeds in (2, 3, 5, 10) for scales in ((1.0,), (1.0, 1.0, 10.0))]
    rows = (
        (name, *(rule(draw, rng, seeds=n, scales=scales, repetitions=repetitions) for n, scales in cases))
        for name, draw in RETURNS.items()
    )
    return _table(["scores", *(f"{n} seeds, {len(scales)} games" for n, scales in cases)], rows)


def mean_table(rng: np.random.Generator, repetitions: int, before: bool) -> str:
    """Tabulate the coverage of the mean."""
    rule, sizes = mean_coverage_before if before else mean_coverage, (3, 5, 10, 16, 32, 100)
    rows = ((name, *(rule(name, rng, n=n, repetitions=repetitions) for n in sizes)) for name in RETURNS)
    return _table(["values", *(f"n {n}" for n in sizes)], rows)


def aggregate_table(rng: np.random.Generator, repetitions: int) -> str:
    """Tabulate the coverage of aggregates over games and seeds."""
    cases = [(games, seeds) for games in (3, 10, 26) for seeds in (2, 3, 5)]
    found = {case: aggregate_coverage(rng, games=case[0], seeds=case[1], repetitions=repetitions) for case in cases}
    names = list(found[cases[0]])
    rows = ((f"{games} games, {seeds} seeds", *(found[games, seeds][name] for name in names)) for games, seeds in cases)
    return _table(["suite", *names], rows)


def _table(heads: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    """Format rates in per cent."""
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{100 * rate:.1f}' for rate in rates)} |" for name, *rates in rows]
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--before", action="store_true")
    options = parser.parse_args()
    rng, repetitions, few = np.random.default_rng(0), options.repetitions, max(1, options.repetitions // 10)
    print("False promotions over ten equal challengers, episodes of champion and challenger, %")
    print(gate_table(rng, few if options.before else repetitions, options.before), flush=True)
    print("\nBetter challengers that are promoted, %")
    print(power_table(rng, few if options.before else repetitions, options.before), flush=True)
    print("\nEqual settings called better, %")
    print(study_table(rng, few if options.before else repetitions, options.before), flush=True)
    print("\nIntervals of a mean that contain it, %")
    print(mean_table(rng, few, options.before), flush=True)
    if not options.before:
        print("\nPlain Welch, 100 and 32 episodes, and 32 and 100, %")
        print(welch_table(rng, few))
        print("\nChampions that always score the mean of their ten challengers, n 32 and 100, %")
        print(constant_table(rng, repetitions), flush=True)
        print("\nIntervals of aggregates that contain their expectation, %")
        print(aggregate_table(rng, few), flush=True)


if __name__ == "__main__":
    main()
