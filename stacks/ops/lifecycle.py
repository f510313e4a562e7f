"""The local cloud of a stack, started by its command and forgotten after it; and the word before a destroy."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from pathlib import Path

from bastide.console import run, say
from bastide.errors import StackError
from bastide.files import write_whole
from bastide.machines import build_dir
from bastide.secrets import AlertSecrets
from bastide.settings import Settings
from bastide.stackfile import SECRETS_KEY, SETTINGS_KEY, dump, load, read, stack_path
from stacks.ops.init import opened, passphrase_env, set_secret


def lab_up(stack: str, root: Path) -> None:
    """Start the local cloud that `settings.lab` asks for; nothing when it asks for none.

    Raises `CommandFailed` when it does not come up; its own words have been shown then.
    """
    settings = read(stack_path(stack, root))
    if settings.lab is None:
        return
    build = build_dir(stack, root)
    build.mkdir(parents=True, exist_ok=True)
    config = opened(stack, root)
    if not config.token:
        raise StackError(f"the API token of stack {stack} cannot be read", f"run `python -m stacks init {stack}`")
    flags = [
        "--port", str(settings.lab.port),
        "--token-file", "-",
        "--authorized-key", f"{root / Path(settings.users.automation.identity).expanduser()}.pub",
        "--info", str(build / "lab.json"),
    ]  # fmt: skip
    words = [config.token]
    if settings.storage:
        keys = config.storage_keys()
        words += [keys.access, keys.secret.get_secret_value()]
        flags += ["--storage", _storage_server()]
    sink = sink_words(settings, config.alert_secrets()) if settings.alerts else None
    if sink:
        words += sink
        flags.append("--sink")
    # its output is the user's: the lab says what it does and what is missing
    up = [sys.executable, "-m", "lab", "--name", stack, "up", *flags]
    run(up, input="\n".join(words) + "\n", cwd=root, show=True)
    if settings.storage:
        _settle_storage(stack, root)
    if sink:
        _settle_alerts(stack, root, sink, config.alert_secrets(), tls=_over_tls(settings))


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
    for left in ("lab.json", "inventory.json", "ssh_config", "verify.ssh_config", "storage.crt", "sink.crt"):
        (build_dir(stack, root) / left).unlink(missing_ok=True)
    say(f"stack {stack}: state and host keys of its machines removed, {stack_path(stack)} kept")


def refuse_protected(stack: str, root: Path) -> None:
    """Raise `StackError` while the stack's servers are protected, with the way to lift it."""
    if read(stack_path(stack, root)).protection:
        raise StackError(
            f"the stack {stack} is protected: nothing is destroyed while settings.protection is true",
            f"set protection: false in {stack_path(stack)}, run `make infra stack={stack}`, then this again",
        )


def _storage_server() -> str:
    found = shutil.which("minio")
    if found is None:
        raise StackError("the local cloud's object storage (minio) is not on PATH", "run `make setup`, then `make lab`")
    return found


def _settle_storage(stack: str, root: Path) -> None:
    """Write into the stack file where the local cloud's object storage answers, and its certificate under build/.

    Its address is the lab's to choose. Nothing is written when the file says so already.
    """
    found, certificate = _described(stack, root, "storage")
    _write_settings(stack, root, ("storage",), {"endpoint": found["endpoint"], "certificate": certificate})


def sink_words(settings: Settings, known: AlertSecrets) -> list[str]:
    """User, password, and the last word of each URL, for the local cloud's sink: what is there stays, new ones else."""
    mail = settings.alerts.mail if settings.alerts else None
    urls = (known.webhook_url, known.heartbeat_url)
    last = [known.mail_password.get_secret_value(), *(url.get_secret_value().rpartition("/")[2] for url in urls)]
    return [mail.username if mail else "nobody", *(word or secrets.token_hex(20) for word in last)]


def _settle_alerts(stack: str, root: Path, words: list[str], known: AlertSecrets, *, tls: bool) -> None:
    """The same for the local cloud's sink: where mail goes, the password, and where the secret URLs lead."""
    found, certificate = _described(stack, root, "sink")
    _write_settings(stack, root, ("alerts",), {"certificate": certificate})
    # which of the two ways is the operator's to choose
    _write_settings(stack, root, ("alerts", "mail"), {"host": found["host"], "port": 465 if tls else 587})
    _, password, hook, beat = words
    at = f"https://{found['host']}"
    wanted = {"mail_password": password, "webhook_url": f"{at}/hook/{hook}", "heartbeat_url": f"{at}/beat/{beat}"}
    env = passphrase_env(stack, root, lab=True)
    for name, value in wanted.items():
        if getattr(known, name).get_secret_value() != value:
            set_secret(stack, root, env, f"{SECRETS_KEY}.alerts.{name}", value, path=True)


def _over_tls(settings: Settings) -> bool:
    mail = settings.alerts.mail if settings.alerts else None
    return mail is not None and mail.tls == "tls"


def _described(stack: str, root: Path, service: str) -> tuple[dict[str, str], str]:
    """What the lab says of one of its services, and where its certificate is now, relative to the project."""
    build = build_dir(stack, root)
    found: dict[str, str] = json.loads((build / "lab.json").read_text(encoding="utf-8"))[service]
    certificate = build / f"{service}.crt"
    if not certificate.exists() or certificate.read_text(encoding="utf-8") != found["certificate"]:
        write_whole(certificate, found["certificate"])
    return found, str(certificate.relative_to(root))


def _write_settings(stack: str, root: Path, keys: tuple[str, ...], wanted: dict[str, object]) -> None:
    """Settings of a stack file below these keys; nothing where there are none, or they say so already."""
    file = stack_path(stack, root)
    document = load(file)
    section = document["config"][SETTINGS_KEY]
    for key in keys:
        section = section.get(key) or {}
    if section and any(section.get(key) != value for key, value in wanted.items()):
        section.update(wanted)
        write_whole(file, dump(document), mode=0o600)
