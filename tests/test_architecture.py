"""The house keeps its order: who imports whom, no code in data, nothing undocumented, a bare machine can train."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MODULES = sorted((SOURCE / "meme57").rglob("*.py"))

ALLOWED = {
    "kedro": ("cli", "hooks", "settings", "pipeline_registry", "pipelines", "datasets", "tuning"),
    "mlflow": ("tracking",),
    "ray": ("actors",),
    "optuna": ("tuning",),
    "ale_py": ("envs",),
}
CODE_IN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"""Reading these runs what the file says."""

BLOCKED = (
    "kedro", "kedro_datasets", "kedro_viz", "omegaconf", "mlflow", "pandas", "pyarrow", "plotly", "optuna", "ray",
    "onnx", "onnxruntime", "onnxscript", "dvc", "imageio_ffmpeg", "click", "sqlalchemy", "sklearn", "scipy",
)  # fmt: skip
BARE_MACHINE = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {BLOCKED!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").partition(".")[0]


def _python(script: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_import_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"Contracts: {len(contracts)} kept, 0 broken" in done.stdout


def test_the_architecture_page_has_the_layers_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    listed = "\n".join(f"    {layer.replace('meme57.', '')}" for layer in layers)
    assert f"\n\n{listed}\n\n" in (ROOT / "docs" / "architecture.md").read_text()


def test_one_gradient_step_imports_no_actor() -> None:
    script = (
        "import sys, meme57.learning.learner; sys.exit(any(name.startswith('meme57.actors') for name in sys.modules))"
    )
    assert _python(script).returncode == 0


def test_every_package_has_its_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    placed = {name.strip(" ()") for layer in layers for name in layer.split("|")}
    found = {_name(path) for path in MODULES if len(path.relative_to(SOURCE).parts) == 2}
    found |= {_name(path) for path in (SOURCE / "meme57").glob("*/__init__.py")}
    assert found - {"meme57"} <= placed


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_framework_is_imported_only_where_it_belongs(package: str) -> None:
    rooms = {f"meme57.{room}" for room in ALLOWED[package]}
    strays = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in MODULES
        for line, imported in _imports(_tree(path))
        if imported == package and ".".join(_name(path).split(".")[:2]) not in rooms
    ]
    assert strays == []


def _dangers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for line, package in _imports(tree):
        if package in CODE_IN_DATA:
            yield line, f"imports {package}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        flags = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if call in ("eval", "exec", "compile", "__import__"):
            yield node.lineno, call
        if call == "torch.load" and flags.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        if flags.get("allow_pickle", "False") != "False":
            yield node.lineno, "allow_pickle"
        if call in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "torch.package.PackageImporter"):
            yield node.lineno, call
        if flags.get("shell") == "True":
            yield node.lineno, "shell=True"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "def f():\n    from cloudpickle import loads",
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_the_scan_for_dangers_sees_them(line: str) -> None:
    assert len(list(_dangers(ast.parse(line)))) == 1


def test_weights_and_files_are_data_never_code() -> None:
    assert [f"{path.relative_to(ROOT)}:{line} {what}" for path in MODULES for line, what in _dangers(_tree(path))] == []


def test_frameworks_are_not_loaded_at_import_time_of_what_starts_often() -> None:
    modules = [
        _name(path)
        for path in MODULES
        if path.name == "pipeline.py" or path.parts[-2] in ("hooks", "cli") or path.stem == "settings"
    ]
    assert len(modules) >= 12
    script = (
        "import sys, importlib\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({'torch', 'mlflow', 'plotly', 'pandas'} & set(sys.modules)))"
    )
    done = _python(script)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_actors_do_not_load_ray() -> None:
    done = _python("import sys, meme57.actors; print('torch' in sys.modules, 'ray' in sys.modules)")
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_the_blocker_blocks() -> None:
    done = _python(BARE_MACHINE + "import mlflow")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'mlflow'" in done.stderr


def test_a_bare_machine_trains(tmp_path: Path) -> None:
    """torch, numpy, pydantic, gymnasium, ale-py, zstandard, safetensors and rich are enough."""
    settings = {
        "env": {"game": "Pong", "num_envs": 2, "height": 36, "width": 36},
        "run": {"total_frames": 1_600, "checkpoint_period_frames": 800, "log_period_frames": 800},
        "family": {"num_policies": 2},
        "network": {"torso": "small", "small_channels": [4, 8], "lstm_size": 8, "head_size": 8, "feature_size": 8},
        "novelty": {"channels": [4, 8], "rnd_size": 8, "hidden_size": 8},
        "replay": {"period": 10, "capacity_sequences": 100, "min_sequences": 8},
        "actors": {"weights_period_steps": 20},
        "learner": {"batch_size": 4},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    script = "import meme57.evaluation.protocol, meme57.evaluation.statistics, runpy, sys\n"
    script += "runpy.run_module('meme57.learning', run_name='__main__', alter_sys=True)"
    done = _python(BARE_MACHINE + script, "--config", "settings.json", "--folder", "runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[-1]["frames"] >= 1_600
    assert rows[-1]["updates"] > 0
    assert sorted(path.name for path in (tmp_path / "runs" / "Pong-s1").glob("checkpoint-*")) == [
        "checkpoint-000001",
        "checkpoint-000002",
    ]


def _undocumented(tree: ast.Module, module: str) -> Iterator[str]:
    if not ast.get_docstring(tree):
        yield module
    for node in tree.body:
        yield from _undocumented_in(node, module)


def _undocumented_in(node: ast.stmt, owner: str) -> Iterator[str]:
    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
        return
    if "overload" in map(ast.unparse, node.decorator_list):
        return
    name = f"{owner}.{node.name}"
    if not ast.get_docstring(node):
        yield name
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            yield from _undocumented_in(member, name)


def test_everything_public_has_a_docstring() -> None:
    assert [name for path in MODULES for name in _undocumented(_tree(path), _name(path))] == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    homes = re.compile(rf"(?<![\w.:/-])/({'|'.join(('home', 'root', 'Users', 'work', 'mnt'))})/\w")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        files = [ROOT / name for name in listed.stdout.splitlines()]
    else:  # an unpacked archive has no index
        files = [
            path for folder in ("src", "conf", "experiments", "tests", "docs") for path in (ROOT / folder).rglob("*")
        ]
    texts = {path: path.read_bytes().decode(errors="ignore") for path in files if path.is_file()}
    assert len(texts) > 100
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path, text in texts.items() if (match := homes.search(text))]
    assert found == []
