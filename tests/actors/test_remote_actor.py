"""What runs in a Ray actor, without Ray: a round that a cut ends from another thread."""

from __future__ import annotations

import threading

from meme57.actors.messages import unpack_answer
from meme57.actors.remote_actor import Plan, RemoteActor
from meme57.envs import env_spec


def steps(answer: bytes) -> int:
    return unpack_answer(answer)[0].num_steps


def test_a_cut_ends_the_rounds_before_it_and_none_after_it(make_parameters) -> None:
    parameters = make_parameters(ray={"workers": 1})
    actor = RemoteActor()
    actor.begin(parameters, env_spec(parameters.env), Plan(slot=0, life=1))
    threading.Timer(0.2, actor.end_rounds, [1]).start()
    assert 0 < steps(actor.collect(None, 0, 10**9, None, False)) < 3 * 10**9
    assert steps(actor.collect(None, 0, 10**9, None, False)) == 0  # asked for before the cut
    actor.cut()
    actor.restart(None)
    assert steps(actor.collect(None, 0, 5, None, False)) == 5 * 3
    actor.cut()
    actor.restart(None)
    actor.end_rounds(2)  # overtaken by its cut
    assert steps(actor.collect(None, 0, 5, None, False)) == 5 * 3
