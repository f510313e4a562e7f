"""Runs on a machine as root: knocks at others, at all ports at once, and says what became of each knock.

UDP: a closed port says so (ICMP lets it be known), and a listener of the checks answers.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_SECONDS = 1.5


def knocks(plan: dict[str, dict[str, str]], words: list[str]) -> dict[str, dict[str, Any]]:
    """`plan`: by number name and address of who is knocked at; words are `NAME:tcp:22`. Nobody else is knocked at.

    Returns by number what each port's state was ("open", "closed", "filtered"), and whether the address answers a ping.
    """
    with ThreadPoolExecutor(64) as pool:
        pings = {number: pool.submit(_ping, one["address"]) for number, one in plan.items()}
        states = {
            number: {
                f"{kind}/{port}": pool.submit(_knock, kind, one["address"], int(port))
                for name, kind, port in (word.split(":") for word in words)
                if name == one["name"]
            }
            for number, one in plan.items()
        }
        return {
            number: {"ping": pings[number].result(), "ports": {port: one.result() for port, one in found.items()}}
            for number, found in states.items()
        }


def _knock(kind: str, address: str, port: int) -> str:
    try:
        if kind == "tcp":
            socket.create_connection((address, port), _SECONDS).close()
            return "open"
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as to:
            to.settimeout(_SECONDS)
            to.connect((address, port))
            to.send(b"knock")
            to.recv(16)
            return "open"
    except ConnectionRefusedError:
        return "closed"
    except OSError:
        return "filtered"


def _ping(address: str) -> bool:
    words = ("ping", "-n", "-q", "-c", "1", "-W", "2", address)
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    print(json.dumps(knocks(json.loads(sys.argv[1]), sys.argv[2:])))
