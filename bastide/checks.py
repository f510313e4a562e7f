"""Which checks prove a control, by their texts: a proof made by other checks, or of another sentence, is none. And
which scripts they run on machines.

The checks are read or run, not imported: the core knows nothing of tests/verify but where it lies.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bastide.console import run
from bastide.controls import CONTROLS, Control
from bastide.machines import Inventory

ROOT = Path(__file__).parents[1]
_CHECKS = "tests/verify"
# what runs on the machines is sent as a text, and every check has these beside it
_SENT = f"{_CHECKS}/probes/remote"
_ALWAYS = (f"{_CHECKS}/conftest.py", f"{_CHECKS}/evidence_plugin.py")
_FOLLOWED = ("tests.verify", "bastide.layout", "bastide.open_ports")


@cache
def proof_digests(root: Path = ROOT) -> dict[str, str]:
    """By control a short name for its sentence, its reason and the texts of its checks, with all that they import.

    A file counts whole: whoever edits one check of a file has those beside it made again.
    """
    files: dict[str, set[str]] = {one.id: set() for one in CONTROLS}
    for path in sorted((root / _CHECKS).glob("test_*.py")):
        texts = _with_imports(path.relative_to(root).as_posix(), root)
        for control in _proves(path):
            files.setdefault(control, set()).update(texts)
    return {one.id: _digest(one, files[one.id], root) for one in CONTROLS}


def listed_scripts(inventory: Inventory, root: Path = ROOT) -> dict[str, dict[str, str]]:
    """The names of the scripts that checks run as root, by machine and by the SHA-256 of their texts.

    Raises `CommandFailed` when the checks cannot say.
    """
    words = [sys.executable, "-m", "tests.verify.listing"]
    hint = "a check is broken: run `python -m tests.verify.listing < build/<stack>/inventory.json` to see where"
    done = run(words, input=json.dumps(inventory.to_json()), cwd=root, timeout=60, hint=hint)
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


def _digest(control: Control, files: set[str], root: Path) -> str:
    said = {
        "subject": control.subject,
        "sentence": control.sentence,
        "why": control.why,
        "roles": control.roles,
        "checks": [[name, _of_file(root / name)] for name in sorted(files)],
    }
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@cache
def _of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _proves(path: Path) -> Iterator[str]:
    """The controls that a file's checks are marked with: `@pytest.mark.control("ssh-01", ...)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "control":
            yield from (
                word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)
            )


def _with_imports(name: str, root: Path) -> set[str]:
    """A file of the project with all that it imports of the checks and of what they share with deploys."""
    found: set[str] = set()
    waiting = [name, *_ALWAYS]
    while waiting:
        one = waiting.pop()
        if one not in found and (root / one).is_file():
            found.add(one)
            waiting += _imported(root / one, root)
    return found


@cache
def _imported(path: Path, root: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_FOLLOWED):
            # of a package the name that is imported may be a module
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            for place in (module.replace(".", "/") for module in modules):
                names += [f"{place}.py", f"{place}/__init__.py"]
    if any(name.endswith("probes/scripts.py") for name in names):
        names += [one.relative_to(root).as_posix() for one in sorted((root / _SENT).glob("*.py"))]
    return names
