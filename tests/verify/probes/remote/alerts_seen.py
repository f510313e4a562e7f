"""Sent to a machine and run there as root: how its alerts are, and what it sees of the others'. Prints JSON; no URL,
no password and no finding is in it."""

from __future__ import annotations

import hashlib
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main(plan: dict[str, Any]) -> None:
    """`plan`: program, config, memory (paths); port; pages and elsewhere (addresses by name)."""
    program = pathlib.Path(plan["program"])
    digest = hashlib.sha256()
    for path in sorted(program.rglob("*.py")):
        digest.update(path.relative_to(program).as_posix().encode() + b"\0" + path.read_bytes())
    memory = _json(plan["memory"])
    ways = {
        name: {key: state.get(key) for key in ("ok", "at", "checked", "said")}
        for name, state in memory.get("channels", {}).items()
    }
    own = plan["pages"].get(plan["name"])
    elsewhere = {f"{name} {address}": address for name, addresses in plan["elsewhere"].items() for address in addresses}
    # all at once: of what is closed each is waited for
    with ThreadPoolExecutor(32) as pool:
        pages = pool.map(lambda address: _page(address, plan["port"]), plan["pages"].values())
        connects = pool.map(lambda address: _connects(address, plan["port"]), elsewhere.values())
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=False).stdout.splitlines()
    print(
        json.dumps(
            {
                "now": time.time(),
                "round": memory.get("round"),
                "blind": [key[5:] for key in memory.get("since", {}) if key.startswith("look/")],
                "ways": ways,
                "digest": digest.hexdigest(),
                "config": _json(plan["config"]),
                "pages": dict(zip(plan["pages"], pages, strict=True)),
                "elsewhere": dict(zip(elsewhere, connects, strict=True)),
                "posted": _status("POST", own, plan["port"]) if own else None,
                "listening": [line.split()[3] for line in listening if line.split()[3].endswith(f":{plan['port']}")],
            }
        )
    )


def _page(address: str, port: int) -> dict[str, Any] | None:
    """When it was written, and whom it sees; None without an answer."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/")
        page = json.loads(connection.getresponse().read())
        return {"at": page["at"], "able": page["able"], "sees": page["sees"]}
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _status(method: str, address: str, port: int) -> int | None:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request(method, "/", "{}")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def _json(path: str) -> dict[str, Any]:
    try:
        value = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
