"""Files and folders."""

from __future__ import annotations

from typing import TypedDict

from deploys.facts.fact import Fact
from deploys.remote.facts import files as on_machine


class FileState(TypedDict):
    """A file as it is; `sha256` is "" for what is no plain file."""

    sha256: str
    mode: int
    owner: str
    group: str


FILES = Fact(on_machine.files)
"""By path; `None` for what does not exist."""
MODES = Fact(on_machine.modes)
"""Mode, owner and group by path ("0640 root adm"); "" for what does not exist. Nothing of what is inside."""
CONTENTS = Fact(on_machine.contents)
"""Text by path, of those that exist."""
FOLDERS = Fact(on_machine.folders)
"""The names inside, by path."""
