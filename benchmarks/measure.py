"""The timed actions, on a stack and a lab named `bench` that nothing else uses."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bastide.console import run
from bastide.layout import etcd as etcd_layout
from bastide.layout import postgres as layout
from bastide.machines import build_dir, inventory_path, load_inventory
from bastide.stackfile import SETTINGS_KEY, dump, load, stack_path
from tools.env import environment

STACK = "bench"
_SSH_DEADLINE = 120.0


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
            if path.name not in ("bench.json", "failover.json"):
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

    def without_postgres(self) -> None:
        """The stack made anew without its database: twenty servers of Postgres are not two cores' work."""
        self.remove()
        self._run(["make", "lab", f"stack={STACK}", "lab=1"])
        path = stack_path(STACK, self.root)
        document = load(path)
        del document["config"][SETTINGS_KEY]["postgres"]
        path.write_text(dump(document), encoding="utf-8")
        self.up()

    def forget_the_cluster(self) -> None:
        """What the voters and the servers hold is gone, and etcd's snapshots; packages and files of settings stay."""
        gone = f"{etcd_layout.DATA} {etcd_layout.FORMING} {etcd_layout.FOLDER}/join.env {layout.DATA}"
        gone += " /var/lib/bastide-etcd/snapshot-*"
        script = f"systemctl stop patroni etcd 2>/dev/null; rm -rf {gone}"
        for machine in load_inventory(inventory_path(STACK, self.root)):
            self._run([sys.executable, "-m", "lab", "--name", STACK, "exec", machine.name, "sh", "-c", script])

    def up(self) -> None:
        """`make up` on what is there."""
        self._run(["make", "up", f"stack={STACK}", "lab=1"])

    def deploy(self, *, stock: bool = False, limit: str = "", deploy: str = "deploys/site.py") -> None:
        """A deploy, over our connector or pyinfra's own."""
        inventory = "benchmarks/stock_inventory.py" if stock else "hosts/inventory.py"
        self._run(["pyinfra", "-y", inventory, deploy, *(["--limit", limit] if limit else [])])

    def deploy_a_change(self) -> None:
        """Change one setting of all machines in the stack file, and deploy it."""
        journal = self._settings()["base"]["journal"]
        self._set("base", "journal", {**journal, "keep_days": 30 if journal["keep_days"] != 30 else 31})
        self.deploy()

    def plain_ssh(self) -> None:
        """One fresh OpenSSH connection a machine, side by side, each with one command as root."""
        names = [machine.name for machine in load_inventory(inventory_path(STACK, self.root))]
        words = ["ssh", "-F", str(self.build / "ssh_config"), "-o", "BatchMode=yes", "-o", "ControlPath=none"]
        # as many at once as pyinfra has: all of them
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self._run([*words, name, "sudo", "-n", "true"]), names))

    def grow(self, size: int) -> None:
        """Add standbys until there are `size` machines, make them and deploy to them."""
        servers = dict(self._settings()["servers"])
        first = len(servers)
        for number in range(first, size):
            # in turns at both sites; the private addresses follow those of the example
            location = "hel1" if number % 2 else "fsn1"
            servers[f"standby{number}"] = {
                "role": "standby",
                "location": location,
                "private_address": f"10.20.0.{11 + number}",
            }
        if len(servers) > first:
            self._set("servers", None, servers)
            self._run(["make", "infra", "deploy", "inventory", f"stack={STACK}"])

    def verify(self) -> None:
        """`pytest tests/verify` over three machines."""
        self._run(["pytest", "tests/verify", "-q"])

    def preview(self) -> None:
        """A `pulumi preview` that finds nothing to do."""
        self._run(["pulumi", "preview", "--expect-no-changes", "--stack", STACK])

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = load(stack_path(STACK, self.root))["config"][SETTINGS_KEY]
        return settings

    def _set(self, area: str, key: str | None, value: object) -> None:
        """Write one area of the settings, or one key of it, into the stack file."""
        path = stack_path(STACK, self.root)
        document = load(path)
        settings = document["config"][SETTINGS_KEY]
        if key is None:
            settings[area] = value
        else:
            settings[area][key] = value
        path.write_text(dump(document), encoding="utf-8")

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
