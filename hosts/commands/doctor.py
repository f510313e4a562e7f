"""`doctor`: what this machine and this stack lack before `make up`. Each line that is not well ends with the next step.

It changes nothing and can be run at any time. What a lab needs besides is `python -m lab doctor`; `make doctor` runs it
for stacks that live in one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bastide import stackfile
from bastide.command_line import Command
from bastide.console import run, tail_of
from bastide.errors import BastideError, SettingsError, StackError
from bastide.findings import Finding, show
from bastide.machines import identity_path
from bastide.settings import Settings
from hosts.stack import access_in, opened
from hosts.transport.client import check_identity
from hosts.transport.known_hosts import known_hosts_path, read_records
from hosts.transport.provider_api import Provider

_PROGRAMS = {"pulumi": "make setup", "pyinfra": "make setup", "ssh": "sudo apt-get install openssh-client",
             "git": "sudo apt-get install git"}  # fmt: skip
_CLOCK_SECONDS = 10.0  # as in deploys/preflight.py
_DISK_MB = 1024


def examine(stack: str, root: Path) -> Iterator[Finding]:
    """Look at everything, the cheap things first; what depends on something that is missing is left out."""
    yield from _programs(stack)
    yield from _disk(root)
    try:
        settings = stackfile.read(stackfile.stack_path(stack, root))
    except SettingsError as error:
        yield Finding("missing", f"{len(error.mistakes)} mistakes: {error.mistakes[0]}", f"make check stack={stack}")
        return
    except BastideError as error:
        yield Finding("missing", error.message, error.hint)
        return
    yield Finding("ok", f"{stackfile.stack_path(stack)} has no mistake")
    yield from _key(settings, root)
    yield from _git(stack, settings, root)
    backend = list(_backend(stack, settings, root))
    yield from backend
    if all(finding.level == "ok" for finding in backend):
        yield from _secrets(stack, settings, root)


def _programs(stack: str) -> Iterator[Finding]:
    absent = {name: step for name, step in _PROGRAMS.items() if not shutil.which(name)}
    for name, step in absent.items():
        yield Finding("missing", f"{name} is not on PATH", f'{step}, then `eval "$(make env stack={stack})"`')
    if not absent:
        yield Finding("ok", f"programs: {', '.join(_PROGRAMS)}")


def _disk(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free // 2**20
    if free < _DISK_MB:
        yield Finding("missing", f"{free} MB free here, at least {_DISK_MB} are needed", "make room")


def _key(settings: Settings, root: Path) -> Iterator[Finding]:
    automation = settings.users.automation
    path = identity_path(automation.identity, root)
    try:
        check_identity(path, automation.key)
    except BastideError as error:
        yield Finding("missing", error.message, error.hint)
        return
    if path.stat().st_mode & 0o077:
        yield Finding("missing", f"{path} can be read by others", f"chmod 600 {path}")
    else:
        yield Finding("ok", f"the automation account's key is {automation.identity}")


def _git(stack: str, settings: Settings, root: Path) -> Iterator[Finding]:
    """A lab's files must stay out of git; a real stack's must be in it: they tell a machine from an impostor."""
    file, known = stackfile.stack_path(stack), known_hosts_path(stack)
    if not run(["git", "rev-parse", "--git-dir"], cwd=root, check=False).ok:
        yield Finding("note", "this is no git repository: nobody else can have the stack's files", "git init")
        return
    if not _ignored(root, "build/x"):
        yield Finding("missing", "git would take build/, where secrets lie", "put /build/ back into .gitignore")
    if settings.lab:
        return
    present = [path for path in (file, known) if (root / path).exists()]
    if ignored := [str(path) for path in present if _ignored(root, str(path))]:
        yield Finding("missing", f"git ignores {', '.join(ignored)}", "name this stack otherwise, or mend .gitignore")
    elif said := run(["git", "status", "--porcelain", "--", *map(str, present)], cwd=root, check=False).stdout.strip():
        changed = ", ".join(line.split()[-1] for line in said.splitlines())
        yield Finding("missing", f"not committed: {changed}", f"git add {changed.replace(',', '')} && git commit")
    else:
        yield Finding("ok", f"committed: {', '.join(map(str, present))}")
    if present and not read_records(root / known):
        yield Finding("note", "no machine has a recorded host key yet", f"make up stack={stack}")


def _ignored(root: Path, path: str) -> bool:
    return run(["git", "check-ignore", "--quiet", path], cwd=root, check=False).ok


def _backend(stack: str, settings: Settings, root: Path) -> Iterator[Finding]:
    env = f'eval "$(make env stack={stack})"'
    backend = os.environ.get("PULUMI_BACKEND_URL", "")
    if not backend:
        yield Finding("missing", "PULUMI_BACKEND_URL is not set", env)
        return
    if settings.lab is None and backend.startswith(f"file://{(root / 'build').resolve()}"):
        yield Finding(
            "missing",
            "the state would lie under build/ and be lost with it",
            "set PULUMI_BACKEND_URL to a place that is kept and backed up (an S3 bucket, file:///srv/pulumi)",
        )
        return
    file = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE", "")
    if not file and "PULUMI_CONFIG_PASSPHRASE" not in os.environ:
        yield Finding(
            "missing", "there is no passphrase", f"put it into a file, set PULUMI_CONFIG_PASSPHRASE_FILE, {env}"
        )
        return
    if file and not Path(file).is_file():
        yield Finding("missing", f"the passphrase file {file} does not exist", "put the stack's passphrase there")
        return
    if file and Path(file).stat().st_mode & 0o077:
        yield Finding("missing", f"the passphrase file {file} can be read by others", f"chmod 600 {file}")
        return
    done = run(["pulumi", "stack", "ls", "--json", "--non-interactive"], cwd=root, check=False, timeout=60)
    if not done.ok:
        yield Finding(
            "missing", f"the state backend does not answer: {tail_of(done.stderr, 1)}", "see PULUMI_BACKEND_URL"
        )
    elif stack not in {entry["name"] for entry in json.loads(done.stdout)}:
        yield Finding("missing", f"the backend knows no stack {stack}", f"make up stack={stack}")
    else:
        yield Finding("ok", "the state backend answers, and there is a passphrase")


def _secrets(stack: str, settings: Settings, root: Path) -> Iterator[Finding]:
    """Does the passphrase open the stack, and does the token open the provider? And is the clock right?"""
    try:
        config = opened(stack, root)
        yield Finding("ok", "the passphrase opens the stack")
        if not settings.made and settings.dns is None:
            yield Finding("ok", "nothing of this stack is made by an API token: it needs none")
            return
        # a stack of existing servers may have zones alone, with a token of their own
        provider = Provider(access_in(config, dns=not settings.made))
        off = provider.get("/servers?per_page=1").clock_offset
    except StackError as error:
        yield Finding("missing", error.message, error.hint)
        return
    yield Finding("ok", f"the token opens {provider.endpoint}")
    if off is not None and abs(off) > _CLOCK_SECONDS:
        yield Finding("missing", f"this machine's clock is {off:+.0f} s off the provider's", "see `timedatectl`")
    elif off is not None:
        yield Finding("ok", "this machine's clock agrees with the provider's")


def _run(options: argparse.Namespace, root: Path) -> int:
    return 0 if show(examine(options.stack, root)) else 1


COMMAND = Command("doctor", "what this machine and this stack lack before `make up`", _run)
