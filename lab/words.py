"""What people type for times, shares and rates, as numbers: "20ms", "1%", "10mbit"."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_BITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


def seconds(text: str) -> float:
    """ "20ms" -> 0.02; at most ten seconds. Raises `ArgumentTypeError`."""
    value = _number(text, _SECONDS, "a time such as 20ms or 0.5s")
    if value > 10:
        raise ArgumentTypeError(f"'{text}' is too long: at most 10s")
    return value


def share(text: str) -> float:
    """ "1%" -> 0.01. Raises `ArgumentTypeError`."""
    value = _number(text, {"%": 0.01}, "a share such as 1%")
    if value > 1:
        raise ArgumentTypeError(f"'{text}' is more than all: at most 100%")
    return value


def rate(text: str) -> float:
    """ "10mbit" -> 1e7 bits a second. Raises `ArgumentTypeError`."""
    value = _number(text, _BITS, "a rate such as 10mbit")
    if value < 8000:
        raise ArgumentTypeError(f"'{text}' is too slow: at least 8kbit")
    return value


def shown(seconds: float, loss: float, rate: float) -> str:
    """The three as a person would type them, without what is zero."""
    words = [f"{seconds * 1e3:g}ms"]
    words += [f"{loss * 100:g}%"] if loss else []
    words += [f"{rate / 1e6:g}mbit"] if rate else []
    return " ".join(words)


def _number(text: str, units: dict[str, float], kind: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z%]+)", text.strip().lower())
    if not found or found[2] not in units:
        raise ArgumentTypeError(f"'{text}' is not {kind}")
    return float(found[1]) * units[found[2]]
