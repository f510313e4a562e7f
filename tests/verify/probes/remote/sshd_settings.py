"""Runs on a machine as root, after sshd_config.py: what sshd's settings come to, for whom and from where.

Where a `Match` block is, for every account and for each address, host and port that such a block names.
"""

from __future__ import annotations

import ipaddress
import json
import pwd
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.sshd_config import ASKED, matches

_MOST = 40  # ways to come that blocks name; who has more has them judged by the first


def settings(plan: dict[str, Any]) -> None:
    """`plan`: config, users, addresses, own (its address), port.

    Prints `# USER WAY` before what `sshd -T` says; WAY begins with an address.
    Of what blocks add only answers that an account was not given yet are printed.
    """
    asked = list(product(plan["users"], ({"addr": address} for address in plan["addresses"])))
    blocks = matches(plan["config"])
    more: list[tuple[str, dict[str, str]]] = []
    if blocks:
        named = {name for one in blocks for name in _patterns(one.get("user", ""))}
        users = sorted({*plan["users"], *named, *(entry.pw_name for entry in pwd.getpwall())})
        ways = [{"addr": address} for address in plan["addresses"]]
        ways += [way for block in blocks for way in _ways(block, plan["addresses"][-1])]
        more = [pair for pair in product(users, ways[:_MOST]) if pair not in asked]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda pair: _told(plan, *pair), [*asked, *more]))
    seen: set[tuple[str, str]] = set()
    for number, ((user, way), text) in enumerate(zip([*asked, *more], answers, strict=True)):
        if number < len(asked) or (user, text) not in seen:
            print(f"# {user} {_shown(way)}\n{text}")
        seen.add((user, text))


def _told(plan: dict[str, Any], user: str, way: dict[str, str]) -> str:
    # sshd wants to be told of all that any block asks for
    words = {
        "user": user,
        "host": way["addr"],
        "laddr": plan["own"],
        "lport": str(plan["port"]),
        "rdomain": "none",
        **way,
    }
    spec = ",".join(f"{key}={value}" for key, value in words.items())
    done = subprocess.run(("sshd", "-T", "-C", spec), capture_output=True, text=True, check=False)
    return (done.stdout if done.returncode == 0 else done.stderr).strip()


def _shown(way: dict[str, str]) -> str:
    return ",".join([way["addr"], *(f"{key}={value}" for key, value in way.items() if key != "addr")])


def _ways(block: dict[str, str], anywhere: str) -> list[dict[str, str]]:
    """Ways to come for which a block counts, as words of `-C`."""
    choices = []
    for criterion, word in ASKED.items():
        patterns = _patterns(block.get(criterion, ""))
        choices.append([{word: one} for one in patterns] or [{}])
    found = []
    for parts in product(*choices):
        way = {"addr": anywhere}
        for part in parts:
            way |= part
        found.append(way)
    return found


def _patterns(text: str) -> list[str]:
    """Something that each pattern of a list matches; of a network its first address."""
    found = []
    for pattern in text.split(","):
        word = pattern.strip().lstrip("!")
        if "/" in word:
            network = ipaddress.ip_network(word, strict=False)
            word = str(network[min(1, network.num_addresses - 1)])
        word = word.replace("*", "1").replace("?", "1")
        if word:
            found.append(word)
    return found


if __name__ == "__main__":
    settings(json.loads(sys.argv[1]))
