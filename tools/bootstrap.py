"""The first step on a fresh machine, run with the system's python3: Debian packages, then .venv."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from bastide.console import run, say, step, tail_of
from bastide.errors import CommandFailed, ToolError
from tools import packages

PYTHON_MINIMUM = (3, 11)
_STAMP = "bastide-stamp"


def bootstrap(root: Path) -> None:
    """Bring this machine to where `make` can go on; quick when nothing is missing.

    `root` is the project's folder. Installs Debian packages (as root, or through sudo), makes .venv with everything
    that requirements.txt pins and the project itself (editable). Raises `ToolError` with the next step.
    """
    check_python(sys.version_info[:2])
    logs = root / "build" / "log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"cannot write to {root / 'build'}: {error.strerror}", "make the project's folder yours (chown)"
        ) from error
    packages.install_missing(logs / "apt.log")
    _virtual_environment(root, logs / "pip.log")


def check_python(version: tuple[int, ...]) -> None:
    """Raise `ToolError` when this Python is too old."""
    if version < PYTHON_MINIMUM:
        raise ToolError(
            f"Python {'.'.join(map(str, version))} is too old, 3.11 or newer is needed",
            "use Debian 12 or newer, or name another: make PYTHON=/path/to/python3.11 up",
        )


def stamp_of(root: Path) -> str:
    """What .venv was made from: changes with the pins, the project file and the Python."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((root / name).read_bytes() + b"\0")
    digest.update(f"{sys.version}\0{root}".encode())
    return digest.hexdigest()


def _virtual_environment(root: Path, log: Path) -> None:
    venv = root / ".venv"
    stamp = venv / _STAMP
    wanted = stamp_of(root)
    if stamp.exists() and stamp.read_text() == wanted and (venv / "bin" / "python").exists():
        say("python: .venv is complete")
        return
    if venv.is_symlink():
        # what it leads to is another project's, and would be emptied
        venv.unlink()
    stamp.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    with step("make .venv"):
        # one from another Python, or from a folder that was moved, is begun anew; an interrupted one is completed
        clear = ["--clear"] if venv.exists() and not _fits(venv) else []
        _logged([_base_python(), "-m", "venv", *clear, venv], log, "install python3-venv, or remove .venv")
    pip: list[str | os.PathLike[str]] = [
        venv / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ]
    again = "run the same command again; behind a proxy or mirror see `pip config` (index-url, proxy, cert)"
    with step("install what requirements.txt pins into .venv"):
        _logged([*pip, "-r", root / "requirements.txt"], log, again)
    with step("install the project itself (editable)"):
        _logged([*pip, "--no-deps", "-e", root], log, again)
    stamp.write_text(wanted)


def _fits(venv: Path) -> bool:
    """Whether .venv belongs to this Python and to this place."""
    try:
        lines = (venv / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return False  # interrupted at the very start
    known = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    here = ".".join(map(str, sys.version_info[:3]))
    # "command" is how it was made, which ends with the place (Python >= 3.11 writes it)
    same = known.get("version", "").startswith(here) and known.get("command", "").endswith(f" {venv}")
    return same and shutil.which(venv / "bin" / "python3") is not None


def _base_python() -> str:
    """The Python that .venv is made from, also when this one runs in .venv itself."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    name = f"python{sysconfig.get_python_version()}"
    return shutil.which(name, path=str(Path(sys.base_prefix) / "bin")) or sys.executable


def _logged(words: list[str | os.PathLike[str]], log: Path, hint: str) -> None:
    try:
        run(words, log=log)
    except CommandFailed as error:
        tail = tail_of(log.read_text(errors="replace")) if log.exists() else error.message
        raise ToolError(f"{Path(words[0]).name} {words[2]} failed:\n{tail}", f"{hint}. The log: {log}") from error
