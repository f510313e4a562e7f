"""Runs on the machine: fail2ban."""

from __future__ import annotations

import contextlib
import pickle
import re
import socket

from deploys.remote.facts.common import at, called, entries, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deploys.facts.fail2ban import Fail2banState, JailState, ServerState


def fail2ban(_: None) -> Fail2banState:
    """Our jail files, and what the running server says of its jails and of whom it has banned.

    Asked over the server's own socket: `fail2ban-client` would take a tenth of a second for each word.
    """
    ours = [called(path) for path in entries("/etc/fail2ban/jail.d") if path.name.startswith("bastide-")]
    server: ServerState | None = None
    with contextlib.suppress(OSError, EOFError, ValueError, pickle.PickleError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(at("/run/fail2ban/fail2ban.sock")))
        rules = output("nft", "list", "table", "inet", "f2b-table")
        running = dict(_told(line, "status"))["Jail list"].replace(",", " ").split()
        jails = {name: _jail(line, name, rules) for name in running}
        server = {
            "dbfile": _told(line, "get", "dbfile"),
            "dbpurgeage": _told(line, "get", "dbpurgeage"),
            "jails": jails,
        }
    return {"files": ours, "server": server}


def _jail(line: socket.socket, name: str, rules: str) -> JailState:
    banned = [str(text).split("\t") for text in _told(line, "get", name, "banip", "--with-time")]
    bans = {address.strip(): when for address, when in banned}
    gone = any(f"saddr @{kind}-set-{name} " not in rules for kind in ("addr", "addr6"))
    held = set(re.findall(r"[0-9a-f.:]+(?=[ ,}])", rules))
    return {
        "ignoreip": _told(line, "get", name, "ignoreip"),
        "maxretry": _told(line, "get", name, "maxretry"),
        "findtime": _told(line, "get", name, "findtime"),
        "bantime": _told(line, "get", name, "bantime"),
        "bans": bans,
        "without_rule": gone or not set(bans) <= held,
    }


def _told(line: socket.socket, *words: str) -> Any:  # noqa: ANN401 - pickled lists and numbers
    """The server's answer to a command of fail2ban-client(1)."""
    end = b"<F2B_END_COMMAND>"
    line.sendall(pickle.dumps(list(words)) + end)
    told = b""
    while not told.endswith(end):
        if not (more := line.recv(65536)):
            raise EOFError
        told += more
    # root reads what root's own service says
    code, answer = pickle.loads(told.removesuffix(end))  # noqa: S301
    if code:
        raise ValueError(str(answer))
    return answer
