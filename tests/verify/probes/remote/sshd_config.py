"""Sent along before others: what the files of sshd say, includes and all, as sshd_config(5) has them."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

# criteria that `sshd -T -C` can be told, and with what word (sshd(8)); users are asked for one by one
ASKED = {"address": "addr", "host": "host", "localaddress": "laddr", "localport": "lport", "rdomain": "rdomain"}
_OTHERS = {"all", "user", "group", "invalid-user"}


def files(config: str) -> list[Path]:
    """The file and all that it includes, in the order in which sshd reads them."""
    found: list[Path] = []
    waiting = [Path(config)]
    while waiting:
        path = waiting.pop(0)
        if path in found or not path.is_file():
            continue
        found.append(path)
        patterns = [word for keyword, words in _lines(path) if keyword == "include" for word in words]
        waiting = [
            Path(name) for one in patterns for name in sorted(glob.glob(str(Path("/etc/ssh", one))))  # noqa: PTH207
        ] + waiting  # fmt: skip
    return found


def matches(config: str) -> list[dict[str, str]]:
    """The criteria of every `Match` block, with their patterns; those without a pattern have ""."""
    return [_criteria(words) for path in files(config) for keyword, words in _lines(path) if keyword == "match"]


def unknown(config: str) -> list[str]:
    """Criteria that sshd cannot be asked about beforehand."""
    return sorted({name for one in matches(config) for name in one if name not in ASKED and name not in _OTHERS})


def _criteria(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, equals, pattern = rest.pop(0).partition("=")
        if not equals and name.lower() not in ("all", "invalid-user"):
            pattern = rest.pop(0) if rest else ""
        found[name.lower()] = pattern
    return found


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Keywords in lower case with their words."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        keyword, _, rest = re.sub(r"^\s*(\w+)\s*=?\s*", r"\1 ", line).partition(" ")
        try:
            yield keyword.lower(), shlex.split(rest, comments=True)
        except ValueError:
            yield keyword.lower(), rest.split()
