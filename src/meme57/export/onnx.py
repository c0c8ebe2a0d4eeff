"""Policies as ONNX files: one step, any batch size."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meme57.errors import Meme57Error, first_line
from meme57.export.steps import Step
from meme57.files import write_atomically

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install "meme57[onnx]"'
REINSTALL = "pip install --force-reinstall onnxruntime"
UPGRADE = "pip install --upgrade onnx onnxscript onnxruntime"


def open_runtime(path: Path) -> Any:
    """Open an ONNX Runtime session on one CPU thread.

    Raises:
        Meme57Error: onnxruntime is not installed or does not work, or it cannot open the file.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise Meme57Error(f"onnxruntime is not installed ({error}): {INSTALL}") from error
    except Exception as error:  # a broken installation can raise any error
        raise Meme57Error(f"onnxruntime does not work ({first_line(error)}): {REINSTALL}") from error
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise Meme57Error(
            f"{path} is damaged, or onnxruntime does not work ({REINSTALL}): {first_line(error)}"
        ) from error


def run_step(session: Any, feed: Mapping[str, Any]) -> list[Any]:
    """Run one step; return its outputs in the order of the file's outputs.

    Raises:
        Meme57Error: ONNX Runtime failed.
    """
    try:
        outputs: list[Any] = session.run(None, dict(feed))
    except Exception as error:
        raise Meme57Error(f"onnxruntime failed ({first_line(error)}): {REINSTALL}") from error
    return outputs


def missing_packages() -> str | None:
    """Name the missing packages of the extra `onnx`, and what to type; None if all are installed."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed: {INSTALL}" if absent else None


def export_step(step: Step, path: Path) -> None:
    """Write `path` and compare it with PyTorch on random inputs.

    Raises:
        Meme57Error: a package of the extra is missing or does not work, or the difference exceeds the step's
            tolerance; no file is left.
    """
    if (absent := missing_packages()) is not None:
        raise Meme57Error(f"no {path.name}: {absent}")
    sizes = {name: torch.export.Dim(name, min=1) for axes in step.free_axes for name in axes.values()}
    try:
        with _quiet():
            program = torch.onnx.export(
                step.network,
                step.example(2),
                input_names=list(step.inputs),
                output_names=list(step.outputs),
                dynamic_shapes=tuple({axis: sizes[name] for axis, name in axes.items()} for axes in step.free_axes),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the errors of the exporter and its packages have no common base class
        words = f"{type(error).__name__} {str(error)[:200]}"
        raise Meme57Error(f"no {path.name}, the exporter failed ({words}): {UPGRADE}") from error
    assert program is not None
    _forget_sources(program)
    write_atomically(path, lambda temporary: program.save(str(temporary)))
    try:
        difference = parity(step, path)
    except Meme57Error:
        path.unlink()
        raise
    if not difference <= step.tolerance:
        path.unlink()
        raise Meme57Error(f"{path.name} differs from PyTorch by {difference:g}, more than {step.tolerance:g}: not kept")


def parity(step: Step, path: Path, *, batch: int = 5) -> float:
    """Measure the largest absolute difference of preferences and states between ONNX Runtime and PyTorch, one step.

    Raises:
        Meme57Error: as `open_runtime` and `run_step`.
    """
    session = open_runtime(path)
    inputs = step.example(batch)
    with torch.inference_mode():
        expected = step.network(*inputs)
    found = run_step(session, {name: value.numpy() for name, value in zip(step.inputs, inputs, strict=True)})
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found[:2], expected[:2], strict=True))


def _forget_sources(program: torch.onnx.ONNXProgram) -> None:
    """Drop the exporter's notes: they name folders of this machine, and the first export of a process has others."""
    program.model.graph.metadata_props.clear()
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter: it prints progress, and warns of packages that nothing here needs."""
    logger = logging.getLogger("torch.onnx")  # importing torch sets its log level, even if it was configured before
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
