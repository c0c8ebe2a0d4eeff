"""The table of the inputs beside the image, and the tuple that carries them."""

from __future__ import annotations

from meme57.agent.inputs import EMBEDDING, INPUTS, REWARD, Inputs


def test_every_input_of_the_table_is_carried_in_its_order() -> None:
    assert tuple(INPUTS) == Inputs._fields


def test_an_embedding_has_one_dimension_more_than_a_number() -> None:
    assert REWARD.shape((3, 2), 8) == (3, 2)
    assert EMBEDDING.shape((3, 2), 8) == (3, 2, 8)
