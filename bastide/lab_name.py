"""What a lab may be called. It has its stack's name, so both are refused by the same words, before anything is made."""

from __future__ import annotations

import re

from bastide.errors import LabError


def check_lab_name(name: str) -> None:
    """Raise `LabError` when a name is not fit: names of interfaces, machines and folders are made from it."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
        raise LabError(
            f"'{name}' is no name for a lab", "use lower case letters, digits and dashes, starting with a letter"
        )
