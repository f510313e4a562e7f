"""What a machine says of fail2ban, against a server that speaks its protocol."""

from __future__ import annotations

import pickle
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from deploys.remote.facts import common, fail2ban

END = b"<F2B_END_COMMAND>"
ANSWERS: dict[tuple[str, ...], Any] = {
    ("status",): [("Number of jail", 2), ("Jail list", "sshd, web")],
    ("get", "dbfile"): "/var/lib/fail2ban/fail2ban.sqlite3",
    ("get", "dbpurgeage"): 86400,
    ("get", "sshd", "banip", "--with-time"): ["192.0.2.7 \t2026-11-21 09:37:06 + 600 = 2026-11-21 09:47:06"],
    ("get", "web", "banip", "--with-time"): ["2001:db8::7 \t2026-11-21 09:37:06 + 600 = 2026-11-21 09:47:06"],
}
RULES = """table inet f2b-table {
    set addr-set-sshd {
        elements = { 192.0.2.6, 192.0.2.7,
                 192.0.2.8 }
    }
    chain f2b-chain {
        ip saddr @addr-set-sshd counter packets 0 bytes 0 drop
        ip6 saddr @addr6-set-sshd counter packets 0 bytes 0 drop
        ip saddr @addr-set-web counter packets 0 bytes 0 drop
        ip6 saddr @addr6-set-web counter packets 0 bytes 0 drop
    }
}
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with our jail files and a server that knows the answers above."""
    monkeypatch.setattr(common, "ROOT", tmp_path)
    for folder in ("run/fail2ban", "etc/fail2ban/jail.d"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("bastide.local", "bastide-ssh.local", "bastide-gone.local", "defaults-debian.conf"):
        (tmp_path / "etc/fail2ban/jail.d" / name).touch()
    return tmp_path


def serve(machine: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(machine / "run/fail2ban/fail2ban.sock"))
    listener.listen()

    def answer() -> None:
        line, _ = listener.accept()
        with line, listener:
            while asked := line.recv(65536):
                words = tuple(pickle.loads(asked.removesuffix(END)))
                line.sendall(pickle.dumps((0, ANSWERS.get(words, 5))) + END)

    threading.Thread(target=answer, daemon=True).start()


def test_without_a_server_only_the_files_are_told(machine: Path) -> None:
    ours = ["/etc/fail2ban/jail.d/bastide-gone.local", "/etc/fail2ban/jail.d/bastide-ssh.local"]
    assert fail2ban.fail2ban(None) == {"files": ours, "server": None}


def test_jails_and_bans_are_told_and_what_the_rules_lack(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fail2ban, "output", lambda *argv: RULES)
    serve(machine)
    server = fail2ban.fail2ban(None)["server"]
    assert server
    assert server["dbpurgeage"] == 86400
    assert server["jails"]["sshd"]["bans"] == {"192.0.2.7": "2026-11-21 09:37:06 + 600 = 2026-11-21 09:47:06"}
    assert server["jails"]["sshd"]["maxretry"] == 5
    assert server["jails"]["sshd"]["without_rule"] is False
    assert server["jails"]["web"]["without_rule"] is True


def test_flushed_rules_are_seen_though_nobody_is_banned(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fail2ban, "output", lambda *argv: "")
    monkeypatch.setitem(ANSWERS, ("get", "sshd", "banip", "--with-time"), [])
    serve(machine)
    server = fail2ban.fail2ban(None)["server"]
    assert server
    assert server["jails"]["sshd"]["without_rule"] is True
