"""Messages are one line, and hold no password."""

from __future__ import annotations

import pytest

from meme57.errors import Meme57Error, TuningError, first_line, one_line, own_error, without_passwords
from meme57.tracking.runs import flatten

SECRET = "postgresql+psycopg://me:s3cr%2Ft@db.example:5432/studies"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SECRET, "postgresql+psycopg://me:***@db.example:5432/studies"),
        (f"kedro run --params tune.storage={SECRET},run.seed=2", None),
        (f"{SECRET} and http://a:b@c", "postgresql+psycopg://me:***@db.example:5432/studies and http://a:***@c"),
        ("http://127.0.0.1:5000/a@b", "http://127.0.0.1:5000/a@b"),
        ("sqlite:////tmp/me@home:1/x.db", "sqlite:////tmp/me@home:1/x.db"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("mail me:you@example.org", "mail me:you@example.org"),
    ],
)
def test_only_passwords_of_addresses_are_hidden(text: str, shown: str | None) -> None:
    found = without_passwords(text)
    assert "s3cr" not in found
    assert shown in (None, found)


def test_no_message_and_no_parameter_holds_a_password() -> None:
    error = TuningError(f"the study's storage {SECRET}\ncannot be opened")
    other = ValueError(f"could not connect to {SECRET}")
    for words in (str(error), one_line(error), one_line(other), first_line(error), first_line(other)):
        assert ":***@" in words
        assert "s3cr" not in words
        assert "\n" not in words
    assert str(Meme57Error("two\nlines")) == "two lines"
    assert flatten({"tune": {"storage": SECRET}}) == {"tune.storage": without_passwords(SECRET)}


def test_one_line_names_the_type_of_a_foreign_error_and_is_not_long() -> None:
    assert one_line(ValueError("a\nb")) == "ValueError: a b"
    assert one_line(TuningError("a\nb")) == "a b"
    assert one_line(ValueError("x" * 600)) == "ValueError: " + "x" * 500


def test_an_error_while_another_is_handled_is_not_that_one() -> None:
    def faulty_handler() -> None:
        try:
            raise TuningError("ours")
        except TuningError:
            raise ValueError("a fault in the handler")  # noqa: B904 - that is the case

    with pytest.raises(ValueError, match="a fault") as caught:
        faulty_handler()
    assert own_error(caught.value) is None
