"""What lies beside a registered policy for people to read: what it is, how to use it, what runs when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.export.travelling import ServedPolicy

CARD = """\
# {name}

A policy for the game {game}: {what}.

{facts}

## Use it

{needs}
The folder with this file is the whole model. Download it with `mlflow artifacts download --artifact-uri
models:/{name}@challenger --dst-path .`, or copy it.

```bash
mlflow models serve --model-uri . --env-manager uv --host 127.0.0.1 --port 5001
curl -s http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d @first_step.json
```

```python
import json
import mlflow.pyfunc
import numpy as np

model = mlflow.pyfunc.load_model(".")
types = {{spec.name: spec.type for spec in model.metadata.get_input_schema()}}
first = json.load(open("first_step.json"))["inputs"]
answer = model.predict({{name: np.array(value, types[name]) for name, value in first.items()}})
```

| input | type | shape |
|---|---|---|
{inputs}

B episodes are played at once. `frame` is the picture, gray and resized as in training. An episode starts with the
values of `first_step.json`: all zero but `action`, which is the number of actions, since there was none. The answer
holds every input of the next step but two. Send it back with the next frame and the reward of the step between.{memory}

## What runs when it is loaded

{code}
"""
MEMORY = """
`memory` holds the episode's embeddings and grows by a row a step. The policy computes its own novelty from it.
`distance` survives episodes: send it back at an episode's start, too."""
ANYWHERE = "It needs no meme57: MLflow makes an environment from `requirements.txt` (ONNX Runtime and NumPy)."
AT_HOME = "It could not be exported to ONNX, so it loads only where meme57 is installed, with `--env-manager local`."
CODE = """\
One Python file: `code/{loader}.py`. meme57 compares its checksum with the version's tag `meme57.code`, and refuses
another one. Plain `mlflow.pyfunc` and `mlflow models serve` compare nothing: they run what lies in the folder. So load
only a folder whose origin you trust. The data files are read, never run."""
NO_CODE = "No file of this folder. The loader is `{loader}` of the meme57 that is installed."

ABOUT = """\
{Agents} of MEME on the game {game}, one version for each registered run. {kind}

- `{name}@champion` was shown to be better than the champion before it, or by a person's decision.
- `{name}@challenger` is the newest version.

`meme57 models {name}` lists all versions with their scores. `meme57 play models:/{name}@challenger` lets one play. Each
version's own description is its card: score, protocol, lineage, how to serve it.
"""
KINDS = {
    "teacher": "A teacher is the trained network itself, the best checkpoint of its run.",
    "student": "A student is a small network that imitates the teacher of its run, exported to ONNX.",
}


def about_model(name: str, agent: str, game: str) -> str:
    """Write the description of a registered model, as Markdown; `agent` is teacher or student."""
    return ABOUT.format(name=name, Agents=f"{agent.capitalize()}s", game=game, kind=KINDS[agent])


def model_card(name: str, what: str, game: str, facts: Mapping[str, Any], served: ServedPolicy) -> str:
    """Write the model card, as Markdown.

    Args:
        what: in words, such as `the student of run Pong-s2`.
        facts: score, protocol, lineage.
    """
    rows = [
        f"| `{key}` | {value.dtype} | B{''.join(f' x {size}' for size in _sizes(key, value.shape[1:]))} |"
        for key, value in served.first_step.items()
    ]
    table = ["| fact | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]
    return CARD.format(
        name=name,
        game=game,
        what=what,
        facts="\n".join(table),
        needs=ANYWHERE if served.code else AT_HOME,
        inputs="\n".join(rows),
        memory=MEMORY if "memory" in served.first_step else "",
        code=(CODE if served.code else NO_CODE).format(loader=served.loader_module),
    )


def _sizes(name: str, shape: tuple[int, ...]) -> list[str]:
    return [str(size) if (name, axis) != ("memory", 0) else "any" for axis, size in enumerate(shape)]
