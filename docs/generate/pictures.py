"""Take the pictures of docs/images in a headless Chromium, and note what they are of in docs/images/pictures.json.

    python docs/generate/pictures.py run PROJECT RUN        # report.png and pong.gif
    python docs/generate/pictures.py phone PROJECT RUN SUITE
    python docs/generate/pictures.py suite PROJECT SUITE
    python docs/generate/pictures.py servers PROJECT        # MLflow and Kedro-Viz, which `meme57 ui` starts
    python docs/generate/pictures.py site                   # of build/site, which `make docs` builds

A test holds docs/images to that file, so a picture cannot be replaced without saying what it shows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import PIL.Image

from meme57.cli import ui
from meme57.tracking.overview import newest_run

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
NOTES = IMAGES / "pictures.json"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--virtual-time-budget=30000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
COLOURS = 64
FILM = "fps=10,scale=240:-1:flags=neighbor,split[a][b];[a]palettegen=max_colors=16[p];[b][p]paletteuse=dither=none"
FILM_SECONDS = 9
PHONES = """<!doctype html><body style="margin:0;background:#0b0d0e;display:flex;gap:24px;padding:24px">
{frames}</body>"""
PHONE = """<iframe src="{page}" style="border:0;border-radius:16px;width:390px;height:1500px"></iframe>"""


def photograph(
    address: str, name: str, *, width: int, height: int, kept: int | None = None, options: tuple[str, ...] = ()
) -> None:
    """Save what the browser shows at `address` as docs/images/`name`, with few colours.

    Args:
        kept: the width that is kept, from the left: both dashboards greet a new visitor with a panel on the right.
    """
    browser = next((path for browser in BROWSERS if (path := shutil.which(browser))), None)
    if browser is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "picture.png"
        command = [
            browser, *OPTIONS, *options, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
            f"--screenshot={taken}", address,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        with PIL.Image.open(taken) as picture:
            picture = picture.convert("RGB").crop((0, 0, kept or width, height))
            picture.quantize(COLOURS, dither=PIL.Image.Dither.NONE).save(IMAGES / name, optimize=True)


def run_pictures(project: str, run: str) -> list[str]:
    """Take a run's page, and the first seconds of its film."""
    folder = Path(project) / "data"
    photograph(page_of(project, run), "report.png", width=900, height=1500)
    film, short = folder / "07_model_output" / run / "video.mp4", IMAGES / "pong.gif"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-t", str(FILM_SECONDS), "-i", str(film)]
    subprocess.run([*ffmpeg, "-vf", FILM, str(short)], check=True)
    return ["report.png", short.name]


def phone_pictures(project: str, run: str, suite: str) -> list[str]:
    """Take the pages of a run and of a suite, on phones, in the dark."""
    with tempfile.TemporaryDirectory() as folder:
        phones = Path(folder) / "phones.html"
        pages = [page_of(project, run), page_of(project, f"suite-{suite}")]
        phones.write_text(PHONES.format(frames="".join(PHONE.format(page=page) for page in pages)))
        photograph(phones.as_uri(), "report_phone.png", width=852, height=1548, options=(DARK,))
    return ["report_phone.png"]


def suite_pictures(project: str, suite: str) -> list[str]:
    """Take a suite's page."""
    photograph(page_of(project, f"suite-{suite}"), "suite_page.png", width=900, height=1950)
    return ["suite_page.png"]


def server_pictures(project: str) -> list[str]:
    """Take MLflow's list of runs, and Kedro-Viz."""
    folder = Path(project).resolve()
    commands = ui.dashboard_commands(folder, newest_run(folder), mlflow=True, viz=True, optuna=False)
    with ui.running(commands, folder) as links:
        photograph(links["MLflow"] + ui.training_view(folder), "mlflow-runs.png", width=1300, height=620, kept=988)
        photograph(links["Kedro-Viz"], "kedro-viz.png", width=1750, height=900, kept=1345)
    return ["mlflow-runs.png", "kedro-viz.png"]


def site_pictures() -> list[str]:
    """Take a page of the documentation's site."""
    page = existing(ROOT / "build" / "site" / "pipelines" / "learn.html")
    photograph(page, "site.png", width=1300, height=900)
    with tempfile.TemporaryDirectory() as folder:
        phone = Path(folder) / "phone.html"
        phone.write_text(f'<!doctype html><body style="margin:0">{PHONE.format(page=page)}</body>')
        photograph(phone.as_uri(), "site-phone.png", width=390, height=900)
    return ["site.png", "site-phone.png"]


def page_of(project: str, name: str) -> str:
    """Return the address of a page in data/08_reporting."""
    return existing(Path(project).resolve() / "data" / "08_reporting" / name / "report.html")


def existing(page: Path) -> str:
    """Return the address of a page that is there."""
    return page.as_uri() if page.is_file() else sys.exit(f"there is no {page}")


KINDS: dict[str, Callable[..., list[str]]] = {
    "run": run_pictures, "phone": phone_pictures, "suite": suite_pictures, "servers": server_pictures,
    "site": site_pictures,
}  # fmt: skip


def main(kind: str, project: str | None = None, *names: str) -> None:
    """Take the pictures of a kind, and note them."""
    taken = KINDS[kind](*([project, *names] if project else []))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=project or ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    notes = json.loads(NOTES.read_text()) if NOTES.is_file() else {}
    for name in taken:
        digest = hashlib.sha256((IMAGES / name).read_bytes()).hexdigest()
        notes[name] = {"kind": kind, "of": list(names), "commit": commit, "sha256": digest}
    NOTES.write_text(json.dumps(dict(sorted(notes.items())), indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    main(*sys.argv[1:])
