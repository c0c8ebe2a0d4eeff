"""Several Ray machines on one machine: each in its own network namespace, so that its cable can be pulled.

This needs root and the `ip` command. The head has the bridge's address and no CPUs for actors. Each machine is
connected to the bridge by a pair of virtual interfaces. Nothing listens outside the bridge.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BRIDGE, NETWORK, PORT = "m57br", "10.77.57", 6457
HEALTH = {"RAY_health_check_initial_delay_ms": "2000", "RAY_health_check_period_ms": "1000",
          "RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "4"}  # fmt: skip
"""Ray's own timeouts for a machine, about 10 s instead of a minute; the pool's timeout is even shorter."""

STARTS, START_SECONDS = 4, 60.0


def ip(*words: str, check: bool = True) -> str:
    """Run the `ip` command and return its output."""
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout


class Machine:
    """A Ray node behind a virtual cable; number 0 is the head, which has no cable."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self._folder = number, folder
        self.address = f"{NETWORK}.{number + 1}"
        self.name = f"m57n{number}"
        self._process: subprocess.Popen[bytes] | None = None
        if number:
            ip("netns", "add", self.name)
            ip("link", "add", f"{self.name}a", "type", "veth", "peer", "name", f"{self.name}b")
            ip("link", "set", f"{self.name}b", "netns", self.name)
            ip("link", "set", f"{self.name}a", "master", BRIDGE, "up")
            for words in (
                f"addr add {self.address}/24 dev {self.name}b",
                f"link set {self.name}b up",
                "link set lo up",
            ):
                ip("-n", self.name, *words.split())

    def start(self, *, cpus: int, waits: bool = True) -> None:
        """Start Ray on it and wait until it runs; on a busy machine a start may fail, and is repeated."""
        line = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={self.address}",
                f"--num-cpus={cpus}", "--object-store-memory=100000000"]  # fmt: skip
        if self.number:
            line = ["ip", "netns", "exec", self.name, *line, f"--address={NETWORK}.1:{PORT}"]
        else:
            line += ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        for _ in range(STARTS):
            path = self._folder.parent / f"{self.name}.log"
            with path.open("wb") as log:
                self._process = subprocess.Popen(
                    line, stdout=log, stderr=log, env={**os.environ, **HEALTH}, start_new_session=True
                )
            if not waits:
                return
            end = time.monotonic() + START_SECONDS
            while self.is_up and time.monotonic() < end:
                if b"Ray runtime started" in path.read_bytes():
                    return
                time.sleep(0.2)
            self.stop()
        raise SystemExit(f"Ray did not start on {self.name}: {path.read_text()[-1000:]}")

    @property
    def is_up(self) -> bool:
        """Whether Ray runs on it."""
        return self._process is not None and self._process.poll() is None

    def processes(self) -> list[int]:
        """List the processes that run on it."""
        return [int(number) for number in ip("netns", "pids", self.name, check=False).split()] if self.number else []

    def signal(self, number: int) -> None:
        """Send a signal to everything that runs on it: SIGKILL is a power cut, SIGSTOP a machine that hangs."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def cable(self, state: str) -> None:
        """Set the cable `up` or `down`."""
        ip("link", "set", f"{self.name}a", state)

    def stop(self) -> None:
        """Stop Ray on it."""
        self.signal(signal.SIGCONT)
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.signal(signal.SIGKILL)

    def end(self) -> None:
        """Stop it and remove its cable."""
        self.stop()
        if self.number:
            ip("link", "del", f"{self.name}a", check=False)
            ip("netns", "del", self.name, check=False)


@contextlib.contextmanager
def cluster(num_machines: int, *, cpus: int) -> Iterator[list[Machine]]:
    """Start the head and that many machines; RAY_ADDRESS names the cluster meanwhile."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise SystemExit("network namespaces need root and the `ip` command (package iproute2): start it as root")
    folder = Path(tempfile.mkdtemp(prefix="m57"))
    (folder / "token").write_text(secrets.token_hex(32))
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"), "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ |= own  # before Ray is imported
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    machines: list[Machine] = []
    try:
        for number in range(num_machines + 1):
            machines.append(Machine(number, folder / "ray"))
            machines[-1].start(cpus=cpus if number else 0)
        os.environ["RAY_ADDRESS"] = f"{NETWORK}.1:{PORT}"
        yield machines
    finally:
        for name in ("RAY_ADDRESS", *own):
            os.environ.pop(name, None)
        for machine in reversed(machines):
            machine.end()
        ip("link", "del", BRIDGE, check=False)
        shutil.rmtree(folder, ignore_errors=True)
