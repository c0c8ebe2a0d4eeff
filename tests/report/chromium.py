"""Opens a page in a real headless browser and tells what became of it.

The page is shown in a frame of a given width, since a browser's window cannot be as narrow as a phone. A probe that is
put into a copy of the page reports to the document around it, whose text the browser prints.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "MEME57_BROWSER_REQUIRED"
"""Set where a missing browser is a failure, not a skip."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--virtual-time-budget=8000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
PATIENCE_SECONDS = 180

PROBE = r"""<script>
var seen = {errors: [], refused: []};
function light(colour) {  /* relative luminance, WCAG 2.2 */
  var parts = colour.match(/[\d.]+/g).slice(0, 3).map(function (part) {
    part = part / 255;
    return part <= 0.04045 ? part / 12.92 : Math.pow((part + 0.055) / 1.055, 2.4);
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
console.error = function () { seen.errors.push(Array.prototype.join.call(arguments, " ")); };
window.addEventListener("error", function (event) {
  seen.errors.push(event.message || "a resource did not load");
}, true);
document.addEventListener("securitypolicyviolation", function (event) { seen.refused.push(event.blockedURI); });
window.addEventListener("load", function () { setTimeout(function () {
  var root = document.documentElement, film = document.querySelector("video");
  seen.width = window.innerWidth;
  seen.overflow = root.scrollWidth - window.innerWidth;
  seen.background = getComputedStyle(document.body).backgroundColor;
  seen.ink = getComputedStyle(document.body).color;
  seen.requests = performance.getEntriesByType("resource").map(function (entry) { return entry.name; })
    .filter(function (name) { return name.indexOf("data:") && name.indexOf("blob:"); });
  seen.plots = {};
  document.querySelectorAll(".plot").forEach(function (plot) {
    var box = plot.getBoundingClientRect();
    seen.plots[plot.id] = {
      drawings: plot.querySelectorAll("svg.main-svg").length, width: box.width, height: box.height,
      marks: plot.querySelectorAll(".scatterlayer path, .barlayer path, .boxlayer path, .points path").length,
      labels: plot.querySelectorAll("text").length
    };
  });
  seen.faint = [];
  document.querySelectorAll("body *").forEach(function (element) {
    var own = Array.prototype.some.call(element.childNodes, function (node) {
      return node.nodeType === 3 && node.data.trim();
    });
    if (!own || !element.getClientRects().length || /^(SCRIPT|STYLE)$/.test(element.tagName)) return;
    if (!/[a-z0-9]/i.test(element.textContent)) return;  /* a mark, not a text */
    var style = getComputedStyle(element), ink = element.namespaceURI.indexOf("svg") < 0 ? style.color : style.fill;
    var around = element, ground = "rgba(0, 0, 0, 0)";
    for (; around && /, 0\)$/.test(ground); around = around.parentElement) {
      ground = getComputedStyle(around).backgroundColor;
    }
    if (/, 0\)$/.test(ground)) ground = "rgb(255, 255, 255)";
    var contrast = (Math.max(light(ink), light(ground)) + 0.05) / (Math.min(light(ink), light(ground)) + 0.05);
    if (contrast < 4.5) seen.faint.push(element.textContent.trim() + ": " + contrast.toFixed(2));
  });
  seen.film = film && {state: film.readyState, width: film.videoWidth, error: film.error && film.error.message};
  parent.postMessage(JSON.stringify(seen), "*");
}, 2500); });
</script>"""
AROUND = """<!doctype html><html><body style="margin:0"><pre id="seen"></pre>
<iframe src="page.html" style="border:0;width:{width}px;height:{height}px"></iframe>
<script>addEventListener("message", function (event) {{ document.getElementById("seen").textContent = event.data; }});
</script></body></html>"""


def find_browser() -> str:
    """The browser's path; without one the test is skipped, or fails where a browser is required."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get(REQUIRED):
        pytest.fail(f"no browser, and {REQUIRED} is set: apt-get install -y --no-install-recommends chromium")
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install -y --no-install-recommends chromium")
    return found


def look_at(page: str, folder: Path, *, width: int, height: int = 900, dark: bool = False) -> dict[str, Any]:
    """Opens the page's text in a frame of that size: what the probe saw there."""
    assert page.count("<head>") == 1
    (folder / "page.html").write_text(page.replace("<head>", f"<head>{PROBE}"), encoding="utf-8")
    around = folder / "around.html"
    around.write_text(AROUND.format(width=width, height=height))
    arguments = [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--dump-dom", around.as_uri()]
    command = [find_browser(), *OPTIONS, *([DARK] if dark else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    match = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
    assert match, f"the page told nothing:\n{done.stdout[-500:]}\n{done.stderr[-500:]}"
    seen: dict[str, Any] = json.loads(html.unescape(match[1]))
    return seen
