"""A part of a file that others write, too: ours stands between two marks, and no other line is changed."""

from __future__ import annotations

import re

BEGIN, END = "# Bastide: from here on it is written by a deploy,", "# Bastide: up to here"


def with_part(text: str, part: str, after: str) -> str:
    """The file's text with our part in the place of the earlier one, behind the first line that matches.

    `after`: a regular expression; where no line matches it, the part comes first.
    """
    lines = without_part(text).splitlines(keepends=True)
    at = next((number for number, line in enumerate(lines, 1) if re.match(after, line)), 0)
    block = f"{BEGIN} changes are lost\n{part}{END}\n"
    return "".join([*lines[:at], block, *lines[at:]])


def without_part(text: str) -> str:
    """The same without it."""
    return re.sub(rf"(?ms)^{re.escape(BEGIN)}.*?^{re.escape(END)}\n", "", text)
