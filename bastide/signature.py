"""Who made a file: OpenSSH's signatures (ssh-keygen(1), -Y), made with the keys that the stack file knows anyhow.

The automation account and that of the checks may sign, and whom `settings.evidence.signers` names of the people.
Nothing else is needed to look: no passphrase, no network.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bastide.console import run
from bastide.errors import EvidenceError
from bastide.evidence import signature_path
from bastide.machines import identity_path
from bastide.settings import Settings

NAMESPACE = "bastide-evidence"
KEY = "BASTIDE_SIGNING_KEY"
"""The variable that names another private key than the automation account's (its public part, with an agent)."""


def sign(path: Path, settings: Settings, root: Path = Path()) -> bool:
    """Sign a file with $BASTIDE_SIGNING_KEY, else with the key of the automation account or, where that is not at hand,
    of the checks'; an old signature goes first.

    Returns whether it is signed: without a key there is none, and nothing fails. Raises `EvidenceError` for a key that
    cannot sign.
    """
    signature_path(path).unlink(missing_ok=True)
    named = os.environ.get(KEY, "")
    key = Path(named).expanduser() if named else _own_key(settings, root)
    if not key.is_file():
        if named:
            raise EvidenceError(f"{KEY} names {key}, and there is no such file", "name a private key, or unset it")
        return False
    done = run(["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), str(path)], check=False)
    if not done.ok:
        last = (done.stderr.strip().splitlines() or ["ssh-keygen says nothing"])[-1]
        raise EvidenceError(f"{key} cannot sign {path.name}: {last}", f"load it into an agent, or set {KEY}")
    return True


def signer(path: Path, settings: Settings) -> str:
    """Who signed a file, by the account's name; "" when nobody did.

    Raises `EvidenceError` for a signature that is not of this very file, or by a key of nobody who may sign.
    """
    signature = signature_path(path)
    if not signature.exists():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        allowed = Path(folder) / "signers"
        allowed.write_text("".join(f"{name} {key}\n" for name, key in may_sign(settings)), encoding="utf-8")
        found = run(["ssh-keygen", "-Y", "find-principals", "-s", str(signature), "-f", str(allowed)], check=False)
        name = found.stdout.strip().partition("\n")[0]
        if not found.ok or not name:
            raise EvidenceError(
                f"{signature} is a signature of nobody who may sign",
                "name the signer in settings.evidence.signers, or make the proof anew: `pytest tests/verify`",
            )
        words = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", name, "-n", NAMESPACE, "-s", str(signature)]
        if not run(words, input=path.read_text(encoding="utf-8"), check=False).ok:
            raise EvidenceError(
                f"{path} is not what {name} signed: somebody changed it since",
                "make the proof anew: `pytest tests/verify`",
            )
    return name


def may_sign(settings: Settings) -> list[tuple[str, str]]:
    """Who may sign, as name and public key (ssh-keygen(1), ALLOWED SIGNERS)."""
    automation = settings.users.automation
    people = [(name, key) for name in settings.evidence.signers for key in settings.users.people[name].keys]
    own = [(automation.name, automation.key)]
    if checks := settings.users.verification:
        own += [(checks.name, key) for key in checks.keys]
    return [(name, " ".join(key.split()[:2])) for name, key in [*own, *people]]


def _own_key(settings: Settings, root: Path) -> Path:
    """The automation account's, or that of the checks' account where there is no other."""
    users = settings.users
    key = identity_path(users.automation.identity, root)
    return key if key.is_file() or not users.verification else identity_path(users.verification.identity, root)
