"""The timed actions, on a stack and a lab named `bench` that nothing else uses."""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bastide.console import run
from bastide.machines import build_dir
from bastide.stackfile import stack_path
from tools.env import environment

STACK = "bench"
_SSH_DEADLINE = 120.0


@dataclass(frozen=True)
class Figure:
    """A figure with all its values; `limit` is the goal in seconds, None when there is none."""

    name: str
    limit: float | None
    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one of the values."""
        return statistics.median(self.seconds)


class Bench:
    """A stack to be timed; `root` is the project's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.build = build_dir(STACK, root)
        self._known_token = ""

    def remove(self) -> None:
        """Lab, state and files of the benchmark's stack, but not its results."""
        self._known_token = ""
        self._run([sys.executable, "-m", "lab", "--name", STACK, "down"])
        stack_path(STACK, self.root).unlink(missing_ok=True)
        (self.root / "stacks" / f"{STACK}.known_hosts").unlink(missing_ok=True)
        for path in self.build.glob("*"):
            if path.name != "bench.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def from_nothing(self) -> tuple[float, float]:
        """Seconds of `make up`, and from the first create call until all three machines greet as ssh servers."""
        answered: list[float] = []
        watcher = threading.Thread(target=self._watch_ssh, args=(answered,), daemon=True)
        watcher.start()
        began = time.monotonic()
        self._run(["make", "up", f"stack={STACK}", "lab=1"])
        took = time.monotonic() - began
        watcher.join(timeout=1)
        return took, answered[0] if answered else float("nan")

    def deploy(self, *, stock: bool, limit: str = "", deploy: str = "deploys/site.py") -> None:
        """A deploy that changes nothing, over our connector or pyinfra's own."""
        inventory = "benchmarks/stock_inventory.py" if stock else "hosts/inventory.py"
        self._run(["pyinfra", "-y", inventory, deploy, *(["--limit", limit] if limit else [])])

    def verify(self) -> None:
        """`pytest tests/verify` over three machines."""
        self._run(["pytest", "tests/verify", "-q"])

    def preview(self) -> None:
        """A `pulumi preview` that finds nothing to do."""
        self._run(["pulumi", "preview", "--expect-no-changes", "--stack", STACK])

    def _run(self, words: list[str]) -> None:
        run(words, cwd=self.root, env=environment(STACK, self.root), timeout=1200)

    def _watch_ssh(self, answered: list[float]) -> None:
        """Wait for the first server in the cloud, then for a greeting of each of three."""
        first: float | None = None
        greeted: set[str] = set()
        deadline = time.monotonic() + _SSH_DEADLINE
        while time.monotonic() < deadline and len(greeted) < 3:
            addresses = self._addresses()
            if addresses and first is None:
                first = time.monotonic()
            greeted |= {address for address in addresses - greeted if _greets(address)}
            time.sleep(0.05)
        if first is not None and len(greeted) == 3:
            answered.append(time.monotonic() - first)

    def _addresses(self) -> set[str]:
        """Public addresses of the servers that the cloud knows now; none before it is up."""
        try:
            endpoint = json.loads((self.build / "lab.json").read_text())["endpoint"]
        except (OSError, ValueError):
            return set()
        # the endpoint is loopback, from the lab's own file
        request = urllib.request.Request(f"{endpoint}/servers", headers={"Authorization": f"Bearer {self._token()}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            servers = json.loads(answer.read())["servers"]
        return {server["public_net"]["ipv4"]["ip"] for server in servers if server["public_net"]["ipv4"]}

    def _token(self) -> str:
        """The cloud's token; asked once, since each question costs half a second of a core."""
        if not self._known_token:
            words = ["pulumi", "config", "get", "hcloud:token", "--stack", STACK]
            self._known_token = run(words, cwd=self.root, env=environment(STACK, self.root)).stdout.strip()
        return self._known_token


def _greets(address: str) -> bool:
    """Whether an ssh server says who it is (RFC 4253, 4.2)."""
    try:
        with socket.create_connection((address, 22), timeout=0.5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
