"""A new stack: its entry in the state, its master secret, and for a lab stack the whole file with fresh keys."""

from __future__ import annotations

import os
import random
import secrets
import shlex
import socket
from contextlib import suppress
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from bastide.console import run, say
from bastide.errors import StackError
from bastide.files import write_whole
from bastide.lab_name import check_lab_name
from bastide.machines import build_dir
from bastide.pulumi_config import StackConfig, open_config
from bastide.secrets import new_master
from bastide.settings.placeholders import CHANGE
from bastide.stackfile import SECRETS_KEY, SETTINGS_KEY, dump, load, read, stack_path
from stacks.ops.new_file import key_pair, write_new_file

EXAMPLE = Path("stacks/Pulumi.example.yaml")
_FOR_EDITORS = "# yaml-language-server: $schema=../docs/reference/stack-file.schema.json"
_PORTS = range(20000, 30000)


def init_stack(stack: str, root: Path, *, lab: bool, begin: bool = False, existing: bool = False) -> None:
    """Make whatever the stack still lacks. Each part is made once and never overwritten, so it can be run again.

    With `lab` a missing stack file is made from the example, with fresh keys, a free port, and a passphrase file under
    build/. With `begin` a small one is written (`existing`: for a server that somebody else made), and nothing else is
    done: it is its owner's to complete. Else a missing file is an error: a real stack is a person's decision.
    Raises `StackError`, `SettingsError` or `LabError`; `CommandFailed` when pulumi refuses.
    """
    file = stack_path(stack, root)
    made = []
    if not file.exists() and begin and not lab:
        identity = write_new_file(stack, file, existing=existing)
        say(f"made {file.relative_to(root)}, and the key of its automation account, {identity}")
        say(f" next: write what is marked {CHANGE} there; `make check stack={stack}` says when it is complete")
        return
    if not file.exists():
        if not lab:
            read(file)  # raises, and says what to do
        _write_lab_file(stack, root)
        made.append(str(file.relative_to(root)))
    settings = read(file)
    if settings.lab is None:
        _refuse_forgetful_backend(stack, root)
    env = passphrase_env(stack, root, lab=settings.lab is not None)
    config = load(file)["config"]
    run(["pulumi", "stack", "select", "--create", "--stack", stack], cwd=root, env=env, hint=_passphrase_hint(stack))
    if "master" not in (config.get(SECRETS_KEY) or {}):
        set_secret(stack, root, env, f"{SECRETS_KEY}.master.v1", new_master(), path=True)
        made.append("its master secret (encrypted, in the stack file)")
    if "hcloud:token" not in config and settings.lab is not None:
        set_secret(stack, root, env, "hcloud:token", secrets.token_hex(32), path=False)
        made.append("a token for the local cloud")
    if settings.lab is not None and settings.storage and "storage" not in (config.get(SECRETS_KEY) or {}):
        for key, value in (("access_key", secrets.token_hex(8)), ("secret_key", secrets.token_hex(20))):
            set_secret(stack, root, env, f"{SECRETS_KEY}.storage.{key}", value, path=True)
        made.append("keys for its object storage")
    if made:
        say(f"made for stack {stack}: {', '.join(made)}")
        if settings.lab is None:
            say(f"commit {file.relative_to(root)}: it now holds the salt and the encrypted master")


def opened(stack: str, root: Path) -> StackConfig:
    """The configuration of a stack with its secrets. Raises `StackError` when they cannot be read."""
    settings = read(stack_path(stack, root))
    return open_config(stack, root, passphrase_env(stack, root, lab=settings.lab is not None))


def storage_variables(stack: str, root: Path) -> str:
    """The keys as `export` lines for the checks, for `eval`; "" where there are none, or no passphrase opens them.

    A check that needs them says so then: whoever has no passphrase (CI) may check everything else.
    """
    if read(stack_path(stack, root)).storage is None:
        return ""
    try:
        return _storage_lines(opened(stack, root))
    except StackError:
        return ""


def check_variables(stack: str, root: Path) -> str:
    """The same with what opens the provider's API, which the checks read: all that they may be given, in one go."""
    try:
        config = opened(stack, root)
    except StackError:
        return ""
    lines = []
    if read(stack_path(stack, root)).storage is not None:
        with suppress(StackError):  # the checks of the buckets say so
            lines.append(_storage_lines(config))
    access = config.access()
    if access.token:
        lines.append(f"export BASTIDE_PROVIDER_ENDPOINT={shlex.quote(access.endpoint)}")
        lines.append(f"export BASTIDE_PROVIDER_TOKEN={shlex.quote(access.token)}")
    return "\n".join(lines)


def _storage_lines(config: StackConfig) -> str:
    keys = config.storage_keys()
    pair = {"ACCESS": keys.access, "SECRET": keys.secret.get_secret_value()}
    return "\n".join(f"export BASTIDE_STORAGE_{name}_KEY={shlex.quote(value)}" for name, value in pair.items())


def _write_lab_file(stack: str, root: Path) -> None:
    """The example with keys that exist: automation, checks, and one for each person; private parts under build/."""
    check_lab_name(stack)
    keys = build_dir(stack, root) / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    document = load(root / EXAMPLE)
    config = document["config"]
    settings = config[SETTINGS_KEY]
    automation = settings["users"]["automation"]
    automation["key"] = key_pair(keys / automation["name"], f"{automation['name']}@lab")
    automation["identity"] = str((keys / automation["name"]).relative_to(root))
    verification = settings["users"]["verification"]
    verification["keys"] = [key_pair(keys / verification["name"], f"{verification['name']}@lab")]
    verification["identity"] = str((keys / verification["name"]).relative_to(root))
    for name, person in settings["users"]["people"].items():
        person["keys"][0] = key_pair(keys / name, f"{name}@lab")
    port = _free_port()
    settings["lab"]["port"] = port
    config["hcloud:endpoint"] = f"http://127.0.0.1:{port}/v1"
    write_whole(stack_path(stack, root), _without_header(document, stack), mode=0o600)


def _without_header(document: CommentedMap, stack: str) -> str:
    """The file's text with a header of its own instead of the example's."""
    text = dump(document)
    body = text[text.index("config:") :]
    header = f"# The stack `{stack}` in the local cloud, made from {EXAMPLE} once. Yours to edit; never overwritten."
    return f"{_FOR_EDITORS}\n{header}\n{body}"


def passphrase_env(stack: str, root: Path, *, lab: bool) -> dict[str, str]:
    """What pulumi needs to find the passphrase. A lab stack has a file of its own, made here; others take the user's.

    Raises `StackError` when there is none, or when the file that encrypted the secrets is gone.
    """
    if os.environ.get("PULUMI_CONFIG_PASSPHRASE") is not None or os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        return {}
    file = build_dir(stack, root) / "passphrase"
    if not lab:
        raise StackError(f"the stack {stack} needs a passphrase", _passphrase_hint(stack))
    if not file.exists():
        if "encryptionsalt" in load(stack_path(stack, root)):
            raise StackError(
                f"{file} is gone, and with it the secrets of stack {stack}",
                f"`make down stack={stack}`, delete {stack_path(stack)}, and start again",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, secrets.token_urlsafe(32) + "\n", mode=0o600)
    return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(file.resolve())}


def _passphrase_hint(stack: str) -> str:
    return f"set PULUMI_CONFIG_PASSPHRASE_FILE to the file with the passphrase of stack {stack}"


def set_secret(stack: str, root: Path, env: dict[str, str], key: str, value: str, *, path: bool) -> None:
    """Encrypt a value into the stack file; it goes through standard input, never through argv."""
    flags = ["--path"] if path else []
    run(["pulumi", "config", "set", "--secret", *flags, "--stack", stack, key], cwd=root, env=env, input=value)


def _refuse_forgetful_backend(stack: str, root: Path) -> None:
    """A real stack's state must not lie in build/, which is git-ignored and may be deleted at any time."""
    backend = os.environ.get("PULUMI_BACKEND_URL", "")
    if backend.startswith(f"file://{(root / 'build').resolve()}"):
        raise StackError(
            f"the state of stack {stack} would lie under build/ and be lost with it",
            "set PULUMI_BACKEND_URL to a place that is kept and backed up (an S3 bucket, or file:///srv/pulumi)",
        )


def _free_port() -> int:
    """A loopback port that nobody holds now; chosen once and then written into the stack file."""
    for port in random.sample(_PORTS, 50):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StackError("no free port between 20000 and 29999", "end what holds them, or set settings.lab.port by hand")
