"""Addresses of databases and files: every path comes back as it was, and what cannot be is told at once."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from meme57.addresses import absolute_address, check_database, local_path, prepare_database, sqlite_address, sqlite_path
from meme57.errors import AddressError

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=40)
ODD = ["a%20b", "a%2520b", "a?b", "a#b", "ä b", "~x", "100%", "[x]*", "a&b=c;d", "q'u\"o", "back\\slash", "me@home:1"]


@given(NAMES)
def test_every_path_comes_back(name: str) -> None:
    path = Path("/", name, "mlflow.db")
    assert sqlite_path(sqlite_address(path)) == path
    assert local_path(path.as_uri()) == path


@pytest.mark.parametrize("name", ODD)
def test_sqlalchemy_opens_the_file_that_is_meant(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "study.db"
    prepare_database(path)
    with create_engine(sqlite_address(path)).begin() as connection:
        connection.execute(text("CREATE TABLE here (x)"))
    assert list(sqlite3.connect(path).execute("SELECT name FROM sqlite_master")) == [("here",)]
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


def test_a_plain_path_is_a_plain_address(tmp_path: Path) -> None:
    assert sqlite_address(tmp_path / "x y.db") == f"sqlite:///{tmp_path}/x y.db"


def test_relative_addresses_are_meant_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/people/me")
    monkeypatch.chdir("/")
    found = {
        "sqlite:///else/where.db": tmp_path / "else" / "where.db",
        "sqlite:////var/where.db": Path("/var/where.db"),
        "sqlite:///~/where.db": Path("/people/me/where.db"),
        "sqlite:///~no-such-user/where.db": tmp_path / "~no-such-user" / "where.db",
        "sqlite:///a%20b/where%3F.db": tmp_path / "a b" / "where?.db",
        "sqlite:////var/100%/where.db": Path("/var/100%/where.db"),
        "sqlite+pysqlite:///where.db": tmp_path / "where.db",
    }
    assert {address: sqlite_path(absolute_address(address, tmp_path)) for address in found} == found


def test_options_stay(tmp_path: Path) -> None:
    address = absolute_address("sqlite:///x.db?timeout=5", tmp_path)
    assert address == f"sqlite:///{tmp_path}/x.db?timeout=5"
    assert sqlite_path(address) == tmp_path / "x.db"


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:5000", "https://me:pass%2Fword@host/a?b=c", "postgresql://me:p%25@host/db", "databricks"],
)
def test_other_addresses_are_left_alone(address: str, tmp_path: Path) -> None:
    assert absolute_address(address, tmp_path) == address
    assert sqlite_path(address) is None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite://", "names no file: write sqlite:///FILE"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://mlflow.db", "names no file"),
        ("sqlite:mlflow.db", "names no file"),
        ("sqlite://host:port/mlflow.db", "names no file"),
        ("sqlite:///file:x.db?uri=true", "names no file"),
        ("sqlite:////a?b/mlflow.db", "write a ? that belongs to the path as %3F"),
        ("sqlite:////a/mlflow.db?", "write a ? that belongs to the path as %3F"),
        ("sqlite:////a/mlflow.db?mode=ro", "unknown options"),
    ],
)
def test_an_address_that_names_no_file_is_refused(address: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(AddressError) as info:
        absolute_address(address, tmp_path)
    assert words in str(info.value)
    assert str(info.value).startswith(address)


def test_places_of_files() -> None:
    assert local_path("file:///a%2520b/c%3Fd") == Path("/a%20b/c?d")
    assert local_path("/a%20b/c?d#e") == Path("/a%20b/c?d#e")
    assert local_path("s3://bucket/x") is None
    assert local_path("mlflow-artifacts:/1") is None


def test_what_cannot_be_a_database_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no database")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    long = tmp_path.joinpath(*["x" * 200] * 4)
    before = sorted(tmp_path.rglob("*"))
    for path, words in [
        (tmp_path / "folder", "it is a folder"),
        (tmp_path / "text", "it is another kind of file"),
        (tmp_path / "pipe", "it is no file"),
        (tmp_path / "loop", "loop"),
        (tmp_path / "text" / "mlflow.db", f"{tmp_path / 'text'} is no folder that can be written to"),
        (Path("/proc/self/mlflow.db"), ""),
    ]:
        with pytest.raises(AddressError, match="cannot be used as a SQLite database") as info:
            prepare_database(path)
        assert words in str(info.value)
        assert "\n" not in str(info.value)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(AddressError, match="unable to open database file"):  # SQLite takes no path of over 500 bytes
        prepare_database(long / "mlflow.db")


def test_an_empty_file_a_database_and_a_link_to_one_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    sqlite3.connect(tmp_path / "full.db").execute("CREATE TABLE x (y)")
    (tmp_path / "link.db").symlink_to("full.db")
    for name in ("empty.db", "full.db", "link.db", "new/er.db"):
        check_database(tmp_path / name)
    assert not (tmp_path / "new").exists()
