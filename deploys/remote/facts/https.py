"""Runs on the machine: what its own services say over HTTPS."""

from __future__ import annotations

import json
import ssl
import urllib.request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def text(url: str, context: ssl.SSLContext) -> str:
    """The text that is found there. Raises `OSError` when there is none."""
    with urllib.request.urlopen(url, timeout=5, context=context) as said:  # noqa: S310 - https, our own
        return str(said.read().decode(errors="replace"))


def answer(url: str, context: ssl.SSLContext) -> Any:  # noqa: ANN401 - JSON
    """The JSON that is found there. Raises `OSError` or `ValueError` when there is none."""
    with urllib.request.urlopen(url, timeout=5, context=context) as said:  # noqa: S310 - https, our own
        return json.load(said)
