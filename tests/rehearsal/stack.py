"""The rehearsal's stack as an object: the verbs to use it and to break it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from bastide.console import Completed, run
from bastide.machines import Inventory, build_dir, inventory_path, load_inventory
from bastide.stackfile import dump, load, read, stack_path
from lab import admin_token, registry
from lab.client import Lab
from lab.place import CHECKOUT
from tests.rehearsal import warm
from tools.env import environment

# what a user's shell may have set for a stack of their own, and what is for this Python alone: none of it may reach the
# rehearsal
FOREIGN = ("PULUMI_", "HCLOUD_", "BASTIDE_", "MAKE", "MFLAGS", "PYTEST_XDIST_", "PYTHONDONTWRITE")

DEPLOY = ["pyinfra", "-y", "--fail-percent", "0", "hosts/inventory.py", "deploys/site.py"]


T = TypeVar("T")


class Rehearsal:
    """A running stack, and the verbs to use and to break it."""

    def __init__(self, stack: str, root: Path) -> None:
        self.stack = stack
        self.root = root
        self.build = build_dir(stack, root)
        self.file = stack_path(stack, root)
        self._kept: dict[str, tuple[bytes, Any]] = {}

    @property
    def env(self) -> dict[str, str]:
        """The environment that `eval "$(make env stack=...)"` gives, and nothing of the caller's own stack."""
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            del os.environ[name]
        return environment(self.stack, self.root)

    def make(self, *targets: str, check: bool = True, timeout: float = 600) -> Completed:
        """`make TARGET ... stack=rehearsal`, as a user types it."""
        env = self.env
        words = ["make", "--no-print-directory", *targets, f"stack={self.stack}", "lab=1"]
        done = run(words, cwd=self.root, env=env, check=False, timeout=timeout)
        if check:
            # the reason stands in what the failing command printed, not in make's last line
            assert done.ok, f"{' '.join(words)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        return done

    def killed(self, words: list[str], moment: Callable[[subprocess.Popen[bytes]], None]) -> None:
        """A command that is killed with all that it started when `moment`, which is given its process, returns."""
        env = {**os.environ, **self.env}
        silent = subprocess.DEVNULL
        process = subprocess.Popen(words, cwd=self.root, env=env, stdout=silent, stderr=silent)
        try:
            moment(process)
            assert process.poll() is None, f"{words[0]} had ended: it was too late for a kill"
        finally:
            if process.poll() is None:
                kill_tree(process.pid)
            process.wait(timeout=30)

    def lab(self, *argv: str, input: str | None = None, check: bool = True, timeout: float = 60) -> Completed:
        """`python -m lab --name rehearsal VERB ...`."""
        words = [sys.executable, "-m", "lab", "--name", self.stack, *argv]
        return run(words, cwd=self.root, env=self.env, input=input, check=check, timeout=timeout)

    def exec(
        self, machine: str, script: str, *, input: str | None = None, check: bool = True, timeout: float = 60
    ) -> Completed:
        """A shell script in a machine, as root, through its namespaces."""
        words = ["sh", "-ec", script]
        if self.root != CHECKOUT:
            # each checkout has labs of its own, and this process knows only ours
            return self.lab("exec", machine, *words, input=input, check=check, timeout=timeout)
        return Lab(self.stack).execute(machine, words, input=input, check=check, timeout=timeout)

    def pulumi(self, *argv: str, input: str | None = None, check: bool = True, timeout: float = 300) -> Completed:
        """The Pulumi command line on the rehearsal's stack."""
        words = ["pulumi", *argv, "--stack", self.stack, "--non-interactive"]
        return run(words, cwd=self.root, env=self.env, input=input, check=check, timeout=timeout)

    def deploy(self, *argv: str, check: bool = True, timeout: float = 300) -> Completed:
        """pyinfra on the rehearsal's machines; further words are added to its command line."""
        return run([*DEPLOY, *argv], cwd=self.root, env=self.env, check=check, timeout=timeout)

    def dry(self, *argv: str, deploy: str = "deploys/site.py") -> dict[str, list[str]]:
        """What a deploy would change: operation name to hosts, from `pyinfra --dry --json`."""
        words = ["pyinfra", "--dry", "--json", "hosts/inventory.py", deploy, *argv]
        done = run(words, cwd=self.root, env=self.env, timeout=300)
        changes = json.loads(done.stdout)
        return {item["name"]: item["hosts_with_change"] for item in _operations(changes) if item["hosts_with_change"]}

    def verify(self, *argv: str, check: bool = True, timeout: float = 300) -> Completed:
        """`pytest tests/verify` on the rehearsal's machines."""
        words = ["pytest", "tests/verify", "-q", *argv]
        return run(words, cwd=self.root, env={**self.env, **self.check_keys()}, check=check, timeout=timeout)

    def verify_warm(self, *argv: str, keys: bool) -> Completed:
        """The same for the sabotages, quicker (`tests.rehearsal.warm`); `keys`: whether the object storage is asked."""
        own = self.env  # it takes what is foreign out of ours
        given = {**self.provider_access(), **(self.storage_keys() if keys else {})}
        return warm.verify(*argv, root=self.root, env={**os.environ, **own, **given})

    def check_keys(self) -> dict[str, str]:
        """All variables that `make verify` gives to the checks."""
        return {**self.storage_keys(), **self.provider_access()}

    def provider_access(self) -> dict[str, str]:
        """Those that open the provider's API; none where the stack has made nothing there."""
        if not read(self.file).made:
            return {}
        endpoint = json.loads((self.build / "lab.json").read_text())["endpoint"]
        return {"BASTIDE_PROVIDER_ENDPOINT": endpoint, "BASTIDE_PROVIDER_TOKEN": self.token()}

    def storage_keys(self) -> dict[str, str]:
        """The variables that give the object storage's keys to the checks, as `make verify` sets them."""
        return self.of_the_file("storage keys", self._storage_keys)

    def _storage_keys(self) -> dict[str, str]:
        done = run([sys.executable, "-m", "stacks", "storage-keys", self.stack], cwd=self.root, env=self.env)
        pairs = (line.removeprefix("export ").partition("=") for line in done.stdout.splitlines())
        return {name: value.strip("'") for name, _, value in pairs}

    def inventory(self) -> Inventory:
        """The secret-free inventory as it was last written."""
        return load_inventory(inventory_path(self.stack, self.root))

    def evidence(self) -> Any:
        """The evidence as it was last written."""
        return json.loads((self.build / "evidence.json").read_text())

    def ssh(
        self, machine: str, *command: str, check: bool = False, user: str = "", key: Path | None = None
    ) -> Completed:
        """OpenSSH with the written ssh_config; another user and key where they are given."""
        words = ["ssh", "-F", str(self.build / "ssh_config"), "-o", "BatchMode=yes", "-o", "ControlPath=none"]
        words += ["-l", user] if user else []
        words += ["-o", "IdentitiesOnly=yes", "-i", str(key), "-o", "IdentityFile=none"] if key else []
        return run([*words, machine, *command], cwd=self.root, env=self.env, check=check, timeout=60)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call to the local cloud; `path` begins with "/v1", or "/_lab" (the admin API has its own token)."""
        endpoint = json.loads((self.build / "lab.json").read_text())["endpoint"].removesuffix("/v1")
        request = urllib.request.Request(endpoint + path, method=method)
        request.add_header(
            "Authorization", f"Bearer {self.admin_token() if path.startswith('/_lab') else self.token()}"
        )
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, data, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def token(self) -> str:
        """The local cloud's token, from the encrypted configuration."""
        return self.of_the_file("token", self._token)

    def of_the_file(self, what: str, read: Callable[[], T]) -> T:
        """What a program reads out of the stack file: kept as long as the file is the same, to the byte."""
        content = self.file.read_bytes()
        known, value = self._kept.get(what, (b"", None))
        if known != content:
            value = read()
            self._kept[what] = content, value
        return cast(T, value)

    def _token(self) -> str:
        done = run(["pulumi", "config", "get", "hcloud:token", "--stack", self.stack], cwd=self.root, env=self.env)
        return done.stdout.strip()

    def admin_token(self) -> str:
        """The token of the local cloud's admin API, which only root may read."""
        place = registry.find(self.stack) if os.geteuid() == 0 else None
        return admin_token.token(place).strip() if place else self.lab("admin-token").stdout.strip()

    @contextmanager
    def settings_changed(self, path: str, value: object) -> Iterator[None]:
        """The stack file with one setting changed ("ssh.port"), put back afterwards to the byte."""
        before = self.file.read_bytes()
        document = load(self.file)
        *parents, last = path.split(".")
        here = document["config"]["bastide:settings"]
        for part in parents:
            here = here[part]
        here[last] = value
        self.file.write_text(dump(document))
        try:
            yield
        finally:
            self.file.write_bytes(before)


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    """Wait until `condition` holds; fails with `what` when it does not within `seconds`.

    A deadline is named where one is promised. Any other wait has as long as a busy machine may take.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def kill_tree(pid: int) -> None:
    """kill -9 of a process and of all that it started, whatever groups they are in: nothing of it can go on."""
    doomed: set[int] = set()
    # stopped first, until nobody is left who could start another
    while new := _descendants(pid) - doomed:
        for one in new:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGSTOP)
        doomed |= new
    for one in doomed:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _descendants(pid: int) -> set[int]:
    """A process and all that it and its children started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # proc(5): the parent's id is the second field after the name in parentheses
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return set(found)


def _operations(data: Any) -> Iterator[dict[str, Any]]:
    """Every operation in pyinfra's JSON, wherever its version puts it."""
    if isinstance(data, dict):
        if "hosts_with_change" in data:
            yield data
        for value in data.values():
            yield from _operations(value)
    elif isinstance(data, list):
        for value in data:
            yield from _operations(value)
