"""The first stack file: one server, all that can be known filled in, and marked what only its owner knows.

Everything that is not in it has its default (docs/reference/settings.md); further servers, the mesh, databases, zones
and buckets are added later, and nothing that stands is made anew by it.
"""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bastide.errors import StackError
from bastide.files import write_whole
from bastide.settings.placeholders import CHANGE

_MADE = """\
      primary:
        role: primary
        # The provider's location: fsn1, nbg1 (Germany) or hel1 (Finland).
        location: fsn1
        # The provider's server type.
        type: cx23
        private_address: 10.20.0.11
"""
_EXISTING = """\
      primary:
        provider: existing
        role: primary
        # Whose machine it is, as the security page names it.
        hoster: {change}
        # Where it stands: the city, and the country of the EU by its ISO 3166-1 code.
        city: {change}
        country: {change}
        # Its public IPv4 address; add address6 when it has an IPv6 address.
        address: {change}
        # `cat /etc/ssh/ssh_host_ed25519_key.pub`, read at its provider's console, not over ssh.
        host_key: {change}
        # Who logs in first, root by sudo. Is locked afterwards unless declared under people.
        user: debian
"""
_FILE = """\
# yaml-language-server: $schema=../docs/reference/stack-file.schema.json
# The stack `{stack}`, one server to begin with. `make check stack={stack}` says what is still to be written.
# stacks/Pulumi.example.yaml has every key with a sentence: take from there what you want to add.
config:
  bastide:settings:
    company:
      # Name on the security page.
      name: {change}
      # The company's domain.
      domain: {change}
      # Mail address for security reports, on the company's own domain.
      security_contact: {change}
    servers:
{server}\
    firewall:
      # Networks that you and your colleagues come from. A wrong one locks you out before you were ever in.
      operators:
        - {change}
    users:
      # The account of deploys and checks; its key was made for this stack and is nobody's own.
      automation:
        key: {automation}
        identity: {identity}
      # People by account name, with their public keys.
      people:
        {person}:
          keys:
            - {key}
          sudo: true
"""


def write_new_file(stack: str, file: Path, *, existing: bool) -> Path:
    """Write the stack file, and the key pair of its automation account when there is none yet.

    `existing`: its server is one that somebody else made. Returns where the private key lies. Raises `StackError` when
    a file that is no key stands there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", stack):
        raise StackError(
            f"a stack cannot be called {stack}", "lower-case letters, digits and hyphens, beginning with a letter"
        )
    identity = Path.home() / ".ssh" / f"bastide-{stack}"
    text = _FILE.format(
        stack=stack,
        change=CHANGE,
        server=(_EXISTING if existing else _MADE).format(change=CHANGE),
        automation=key_pair(identity, f"bastide@{stack}"),
        identity=f"~/.ssh/{identity.name}",
        person=_person(),
        key=_own_key() or CHANGE,
    )
    write_whole(file, text, mode=0o644)
    return identity


def key_pair(private: Path, comment: str) -> str:
    """The public half of an ed25519 key; the pair is made when it is missing, and never overwritten.

    Raises `StackError` for a private half whose public one is gone.
    """
    public = private.with_name(f"{private.name}.pub")
    if not private.exists():
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        half = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        public.write_text(f"{half} {comment}\n", encoding="utf-8")
        write_whole(
            private, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(), mode=0o600
        )
    try:
        return public.read_text(encoding="utf-8").strip()
    except OSError:
        raise StackError(
            f"{private} exists and {public} does not", f"`ssh-keygen -y -f {private} > {public}`, if that is the key"
        ) from None


def _own_key() -> str:
    """The public ssh key of whoever runs this; "" when there is none of a usual name."""
    for name in ("id_ed25519_sk.pub", "id_ed25519.pub"):
        path = Path.home() / ".ssh" / name
        if path.is_file():
            return path.read_text(encoding="utf-8").strip()
    return ""


def _person() -> str:
    """An account name for whoever runs this, to be changed by them."""
    name = getpass.getuser().lower()
    return (
        name if name != "root" and re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name) else f"admin-{socket.gethostname()[:8]}"
    )
