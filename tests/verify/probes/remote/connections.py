"""Runs on a machine, before the other scripts of this folder and in their namespace: what a port answers.

Standard library only, since it is sent to the machine as it stands. Nobody logs in: what a port asks for is enough.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import struct
import subprocess
from pathlib import Path
from typing import Any

# /usr/bin/psql is Debian's wrapper in Perl around it, which takes three times as long (pg_wrapper(1))
PSQL = "/usr/lib/postgresql/17/bin/psql"
SECONDS = 3
"""How long a connection may take to come about: a closed port is silent for as long."""
ANSWER_SECONDS = 20
"""How long who took it may think before the first word: a machine that is busy is no machine that is silent."""


def reach(address: str, port: int) -> str:
    """Whether a connection comes about: "open", "refused" or "silent"."""
    try:
        socket.create_connection((address, port), SECONDS).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"
    return "open"


def reach_as(account: int, ports: list[list[Any]]) -> dict[str, str]:
    """The same of [address, port] pairs, by "address:port", tried as the account of this number without any group.

    Empty when it cannot be tried.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(account, account, account)
            os.setresuid(account, account, account)
            os.write(write, json.dumps({f"{a}:{p}": reach(a, p) for a, p in ports}).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as lines:
        text = lines.read()
    os.waitpid(child, 0)
    return dict(json.loads(text or "{}"))


def client(authority: str, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    """A client that trusts this authority alone, and shows a certificate where it has one."""
    context = ssl.create_default_context(cafile=authority)
    if pair:
        context.load_cert_chain(*pair)
    return context


def old_client() -> ssl.SSLContext:
    """A client that speaks TLS 1.1 at most, and takes whatever certificate and cipher it gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def why_no_tls(error: OSError) -> str:
    """One word of OpenSSL's, or what the system says."""
    return str(getattr(error, "reason", "") or error.strerror or error)


def certificate(line: ssl.SSLSocket) -> dict[str, Any]:
    """What the other side showed: its name, until when its certificate is good, and the version that was agreed on."""
    shown: Any = line.getpeercert() or {}
    names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    ends = ssl.cert_time_to_seconds(shown["notAfter"]) if shown else 0
    others = [value for _, value in shown.get("subjectAltName", ())]
    return {"tls": line.version(), "name": names[0] if names else "", "names": others, "ends": ends}


def https(address: str, port: int, context: ssl.SSLContext | None, request: str, name: str = "") -> dict[str, Any]:
    """The status of an HTTP answer ("200", "" when there is none), over TLS where there is a context, and why not."""
    found: dict[str, Any] = {"status": "", "why": ""}
    try:
        with _connection(address, port) as plain:
            line = context.wrap_socket(plain, server_hostname=name or address) if context else plain
            with line:
                if isinstance(line, ssl.SSLSocket):
                    found |= certificate(line)
                line.sendall(request.encode())
                words = line.recv(4096).decode(errors="replace").split(maxsplit=2)
                found["status"] = words[1] if len(words) > 1 and words[0].startswith("HTTP/") else ""
    except OSError as error:
        found["why"] = why_no_tls(error)
    return found


def fetched(address: str, port: int, context: ssl.SSLContext, path: str) -> str:
    """The text that is found there over TLS; "" for none."""
    try:
        with _connection(address, port) as plain, context.wrap_socket(plain, server_hostname=address) as line:
            line.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            parts = []
            while part := line.recv(65536):
                parts.append(part)
    except OSError:
        return ""
    head, _, body = b"".join(parts).decode(errors="replace").partition("\r\n\r\n")
    return body if " 200 " in head.partition("\r\n")[0] else ""


def postgres(
    address: str,
    port: int,
    user: str,
    database: str,
    context: ssl.SSLContext | None,
    name: str = "",
    *,
    more: dict[str, str] | None = None,
    source: str = "",
) -> dict[str, Any]:
    """How a server or PgBouncer answers who wants to be `user` in `database` (PostgreSQL 17 manual, 53.2 and 53.7).

    `more`: what else is sent at the start; `source`: one of the machine's own addresses to come from.

    `answer`: "asks for scram", "asks for something else", "lets in", "no TLS: ..." or "refuses: ..."; `silent` when
    nobody is there.
    """
    found: dict[str, Any] = {"answer": "silent"}
    try:
        with _connection(address, port, source) as plain:
            line: socket.socket = plain
            if context:
                plain.sendall(struct.pack("!II", 8, 80877103))
                if plain.recv(1) != b"S":
                    return {"answer": "no TLS: it is not offered"}
                try:
                    line = context.wrap_socket(plain, server_hostname=name or address)
                except OSError as error:
                    return {"answer": f"no TLS: {why_no_tls(error)}"}
                if isinstance(line, ssl.SSLSocket):
                    found |= certificate(line)
            said = {"user": user, "database": database, **(more or {})}
            words = "".join(f"{key}\0{value}\0" for key, value in said.items())
            body = struct.pack("!I", 196608) + f"{words}\0".encode()
            line.sendall(struct.pack("!I", len(body) + 4) + body)
            found["answer"] = _first_word(line)
            line.close()
    except OSError as error:
        found["answer"] = f"silent: {error.strerror or error}"
    return found


def _connection(address: str, port: int, source: str = "") -> socket.socket:
    line = socket.create_connection((address, port), SECONDS, (source, 0) if source else None)
    line.settimeout(ANSWER_SECONDS)
    return line


def _first_word(line: socket.socket) -> str:
    head = line.recv(5)
    if len(head) < 5:
        return "refuses: it hangs up"
    body = line.recv(struct.unpack("!I", head[1:])[0] - 4)
    if head[:1] == b"E":
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        return f"refuses: {fields.get(b'M', '')}"
    kind = struct.unpack("!I", body[:4])[0]
    return {0: "lets in", 10: "asks for scram"}.get(kind, "asks for something else")


def listening(programs: tuple[str, ...]) -> list[str]:
    """Where these programs listen for TCP, as "program address:port"."""
    lines = output("ss", "-Hltnp").splitlines()
    found = {f"{one} {line.split()[3]}" for line in lines for one in programs if f'("{one}",' in line}
    return sorted(found)


def output(*words: str, env: dict[str, str] | None = None, input_: str = "", seconds: float = ANSWER_SECONDS) -> str:
    """What a program printed, both outputs, with its exit code before it where that is not 0. Never waits longer."""
    try:
        done = subprocess.run(
            words, env=env, input=input_, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"-1 no answer in {seconds} seconds"
    except OSError as error:
        return f"-1 {error}"
    return done.stdout if done.returncode == 0 else f"{done.returncode} {done.stdout}{done.stderr}"


def key_files(*folders: str) -> dict[str, list[str]]:
    """Mode and owner of each file with a key or a password in these folders."""
    found = {}
    for folder in folders:
        for entry in sorted(Path(folder).glob("*")):
            if entry.name.endswith(".key") or entry.name in ("root.env", "config.yml", "userlist.txt"):
                found[str(entry)] = [oct(entry.stat().st_mode & 0o777), _owner(entry)]
    return found


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def trusted(path: str) -> str:
    """A digest of the certificates in a file, whatever stands between them; "" where there is none."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.findall(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", text, re.DOTALL)
    return hashlib.sha256("".join(found).encode()).hexdigest() if found else ""
