"""The local cloud of a stack, started by its command and forgotten after it; and the word before a destroy."""

from __future__ import annotations

import sys
from pathlib import Path

from bastide.console import run, say
from bastide.errors import StackError
from bastide.machines import build_dir
from bastide.stackfile import read, stack_path
from stacks.init import passphrase_env, token_of


def lab_up(stack: str, root: Path) -> None:
    """Start the local cloud that `settings.lab` asks for; nothing when it asks for none.

    Raises `CommandFailed` when it does not come up; its own words have been shown then.
    """
    settings = read(stack_path(stack, root))
    if settings.lab is None:
        return
    build = build_dir(stack, root)
    build.mkdir(parents=True, exist_ok=True)
    token = token_of(stack, root)
    flags = [
        "--port", str(settings.lab.port),
        "--token-file", "-",
        "--authorized-key", f"{root / Path(settings.users.automation.identity).expanduser()}.pub",
        "--info", str(build / "lab.json"),
    ]  # fmt: skip
    # its output is the user's: the lab says what it does and what is missing
    run([sys.executable, "-m", "lab", "--name", stack, "up", *flags], input=token + "\n", cwd=root, show=True)


def lab_forget(stack: str, root: Path) -> None:
    """Drop the state and the host keys that speak of a removed local cloud's machines. The stack file stays.

    Raises `StackError` for a stack that does not live in the local cloud.
    """
    if read(stack_path(stack, root)).lab is None:
        raise StackError(f"the stack {stack} is a real one", f"`make destroy stack={stack}` is for those")
    try:
        env = passphrase_env(stack, root, lab=True)
    except StackError:
        env = {"PULUMI_CONFIG_PASSPHRASE": ""}  # gone with build/, and the state with it: there is nothing to open
    done = run(
        ["pulumi", "stack", "rm", "--force", "--yes", "--preserve-config", stack], cwd=root, env=env, check=False
    )
    if not done.ok and "no stack named" not in done.stderr:
        raise StackError(
            f"the state of stack {stack} cannot be removed: {done.stderr.strip()}", "mend it, and run it again"
        )
    (root / "stacks" / f"{stack}.known_hosts").unlink(missing_ok=True)
    for left in ("lab.json", "inventory.json", "ssh_config"):
        (build_dir(stack, root) / left).unlink(missing_ok=True)
    say(f"stack {stack}: state and host keys of its machines removed, {stack_path(stack)} kept")


def refuse_protected(stack: str, root: Path) -> None:
    """Raise `StackError` while the stack's servers are protected, with the way to lift it."""
    if read(stack_path(stack, root)).protection:
        raise StackError(
            f"the stack {stack} is protected: nothing is destroyed while settings.protection is true",
            f"set protection: false in {stack_path(stack)}, run `make infra stack={stack}`, then this again",
        )
