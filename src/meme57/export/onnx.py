"""The student as an ONNX file: one step, any batch size."""

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

from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.errors import Meme57Error, first_line
from meme57.files import write_atomically

INPUTS = ("frame", "action", "reward", "state")
OUTPUTS = ("logits", "next_state")
TOLERANCE = 1e-4
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install "meme57[onnx]"'
REINSTALL = f"{INSTALL} --force-reinstall"


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
    """Run one step; return its outputs in the order of `OUTPUTS`.

    Raises:
        Meme57Error: ONNX Runtime failed.
    """
    try:
        outputs: list[Any] = session.run(list(OUTPUTS), dict(feed))
    except Exception as error:
        raise Meme57Error(f"onnxruntime failed ({first_line(error)}): {REINSTALL}") from error
    return outputs


def missing_packages() -> str | None:
    """Name the missing packages of the extra `onnx`, and what to type; None if all are installed."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed: {INSTALL}" if absent else None


def export_student(network: StudentNetwork, path: Path) -> float:
    """Write `path` and compare it with PyTorch on random inputs.

    Inputs: frame uint8 [B, H, W] (float32 for vectors), action int64 [B] (the previous one; A if there was none),
    reward float [B], state float [2, B, H]. Outputs: logits [B, A], next_state [2, B, H].

    Returns:
        The largest difference of logits and states.

    Raises:
        Meme57Error: a package of the extra is missing or does not work, or the difference exceeds 1e-4; no file is
            left.
    """
    if (absent := missing_packages()) is not None:
        raise Meme57Error(f"no {path.name}: {absent}")
    network = network.eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = example_inputs(network, 2)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                example,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: batch}, {0: batch}, {0: batch}, {1: batch}),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the errors of the exporter and its packages have no common base class
        words = f"{type(error).__name__} {str(error)[:200]}"
        raise Meme57Error(f"no {path.name}, the exporter failed ({words}): {INSTALL} --upgrade") from error
    assert program is not None
    _forget_sources(program)
    write_atomically(path, lambda temporary: program.save(str(temporary)))
    try:
        difference = parity(network, path)
    except Meme57Error:
        path.unlink()
        raise
    if not difference <= TOLERANCE:
        path.unlink()
        raise Meme57Error(f"{path.name} differs from PyTorch by {difference:g}, more than {TOLERANCE:g}: not kept")
    return difference


def parity(network: StudentNetwork, path: Path, *, batch: int = 5) -> float:
    """Measure the largest absolute difference between ONNX Runtime and PyTorch on one random step.

    Raises:
        Meme57Error: as `open_runtime` and `run_step`.
    """
    session = open_runtime(path)
    inputs = example_inputs(network, batch)
    with torch.inference_mode():
        expected = network(*inputs)
    found = run_step(session, {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)})
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))


def example_inputs(network: StudentNetwork, batch: int) -> tuple[torch.Tensor, ...]:
    """Draw random inputs of one step."""
    spec, generator = network.spec, torch.Generator().manual_seed(0)
    return (
        _random_frames(spec, batch, generator),
        torch.randint(0, spec.num_actions + 1, (batch,), generator=generator),
        torch.randn(batch, generator=generator),
        torch.randn(2, batch, spec.lstm_size, generator=generator),
    )


def _random_frames(spec: StudentSpec, batch: int, generator: torch.Generator) -> torch.Tensor:
    size = (batch, spec.height, spec.width)
    if spec.frame_dtype == "uint8":
        return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    return torch.randn(size, generator=generator)


def _forget_sources(program: torch.onnx.ONNXProgram) -> None:
    """Drop the exporter's stack traces, which name folders of this machine."""
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
