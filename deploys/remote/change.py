"""Runs on the machine as root: writes files whole or not at all, makes them effective, and can take all of it back.

Standard library only, since it is sent to the machine as it stands here. Contents come over standard input and are
never printed. A plan is `{"name", "files": [{"path", "content" (base64, or null: remove), "mode", "owner", "group",
"check" (command that gets the new file's path)}], "settle": shell line that makes the files at hand effective, "kept":
paths of further files, which that line changes, "unit": what must work with them then, or ""}`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import __main__
from deploys.remote.refusal import refusal

ROOT = Path("/")
STATE = "var/lib/bastide"
SCRATCH = ".bastide-new"
# a change under the dead man's switch; whoever is locked out meanwhile waits no longer
SETTLE_SECONDS = 20
# any other one: systemd gives a service 90 s to stop and etcd 60 s to start, and takes both on a busy disk
UNGUARDED_SECONDS = 180
# the text of this module and of those that it needs, and how they are loaded: both from what was sent (deploys/remote)
SOURCES: dict[str, str] = vars(__main__).get("SOURCES", {})
LOAD: str = vars(__main__).get("LOAD", "")


def apply(plan: dict[str, Any]) -> None:
    """Write the plan's files and settle. A mark stays until both are done, so that the next run sees what is open.

    With `unit` the earlier files come back when that does not settle, and what the unit was refused is said.
    """
    unit, began, before = plan.get("unit", ""), time.time(), time.monotonic()
    with _alone():
        mark = _state("pending", plan["name"])
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch()
        if unit:
            keep(plan)
        problem = _write_all(plan)
        if problem and unit:
            # nothing was made effective: the files alone go back
            problem = "\n".join((problem, *_put_back(_state("before", plan["name"]))))
            forget(plan["name"])
            mark.unlink()
            _fail(problem)
        problem = problem or _settle(plan["settle"], UNGUARDED_SECONDS)
        # one that was not touched works with what was there before
        if problem and unit and not _works_since(unit, before):
            problem = f"{problem}\n{refusal(unit, began)}\n{back(plan['name'])}"
        if problem:
            _fail(problem)
        forget(plan["name"])
        mark.unlink()


def _write_all(plan: dict[str, Any]) -> str:
    """Write the plan's files until one is refused: why, or ""."""
    return next((problem for file in plan["files"] if (problem := _checked_write(file))), "")


def _works_since(unit: str, moment: float) -> bool:
    """Whether its process is one that began before then (seconds since the machine was booted)."""
    words = ("systemctl", "show", "-p", "ActiveState,ExecMainStartTimestampMonotonic", "--", unit)
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    began = told.get("ExecMainStartTimestampMonotonic", "")
    return told.get("ActiveState") == "active" and began.isdigit() and int(began) / 1e6 < moment


def keep(plan: dict[str, Any]) -> None:
    """Keep the files as they are before a change. What a run that was killed had kept is older, and stays."""
    folder = _state("before", plan["name"])
    if folder.is_dir() or not plan["files"]:
        return
    fresh = folder.with_name(f"{folder.name}{SCRATCH}")
    _copy(plan, fresh)
    fresh.rename(folder)
    _sync(folder.parent)


def write(plan: dict[str, Any]) -> None:
    """Keep the earlier files and write the plan's; not settled. All are as before when one of them is refused."""
    with _alone():
        keep(plan)
        if problem := _write_all(plan):
            problem = "\n".join((problem, *_put_back(_state("before", plan["name"]))))
            forget(plan["name"])
            _fail(problem)


def back(name: str) -> str:
    """Bring back what was kept and make that effective. Returns in words whether that went well."""
    folder = _state("before", name)
    if not folder.is_dir():
        return "There is nothing to go back to: it was like this before."
    settle = json.loads((folder / "state.json").read_text())["settle"]
    problems = _put_back(folder)
    if problem := _settle(settle, UNGUARDED_SECONDS):
        problems.append(problem)
    if problems:
        return f"It could not be taken back: {'; '.join(problems)}"
    forget(name)
    _state("pending", name).unlink(missing_ok=True)
    return "It was taken back: all is as before."


def forget(name: str) -> None:
    """The change is good: what was kept goes."""
    shutil.rmtree(_state("before", name), ignore_errors=True)


def begin(plan: dict[str, Any], seconds: int) -> None:
    """Apply the plan under a dead man's switch: unless `confirm` comes within `seconds`, all is taken back."""
    name = plan["name"]
    with _alone():
        if _state("guard", name).is_dir():
            _take_back(name, "an earlier run had not confirmed it")
            _disarm(name)
        with contextlib.suppress(FileNotFoundError):
            _report_file(name).unlink()
        _save(plan)
        if problem := _arm(name, seconds):
            _disarm(name)
            _fail(f"cannot arm the way back, so nothing was changed: {problem}")
        for file in plan["files"]:
            if problem := _checked_write(file):
                break
        else:
            problem = _settle(plan["settle"])
        if problem:
            still = _take_back(name, problem)
            _disarm(name)
            told = f"it has this problem: {still}" if still and still != problem else "it has the same problem"
            _fail(f"{problem}\nThe old state is back{f', but {told}' if still else ''}.")


def confirm(name: str) -> None:
    """Keep the new state: called over a new login, which is the proof that there is a way in."""
    with _alone():
        if not _state("guard", name).is_dir():
            _fail("it was already taken back")
        _disarm(name)


def restore(name: str, reason: str, settle: bool = True) -> None:
    """Take an unconfirmed change back; does nothing when it was confirmed meanwhile."""
    with _alone():
        if _state("guard", name).is_dir():
            _take_back(name, reason, settle=settle)
            _disarm(name, timer=False)


def report(name: str) -> None:
    """Print whether the change is still unconfirmed and, if it was taken back, when and why."""
    path = _report_file(name)
    taken_back = json.loads(path.read_text()) if path.exists() else None
    print(json.dumps({"armed": _state("guard", name).is_dir(), "taken_back": taken_back}))


def write_file(path: Path, data: bytes, mode: int, owner: str, group: str, check: str = "") -> str:
    """Replace a file atomically; nobody but its later readers can read it at any moment.

    It is made 0600 in a 0700 folder beside its target, gets its owner and mode there, and is renamed into place.
    Returns "" or why `check` refused the new file, which is then not put in place.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = path.parent / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed here
    scratch.mkdir(mode=0o700)
    try:
        fresh = scratch / path.name
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:  # noqa: PTH123
            stream.write(data)
            os.fchown(stream.fileno(), pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        if check and (problem := _run(f"{check} {fresh}")):
            return problem.replace(str(fresh), str(path))
        fresh.replace(path)
        _sync(path.parent)
        return ""
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _checked_write(file: dict[str, Any]) -> str:
    path = ROOT / file["path"].lstrip("/")
    if file["content"] is None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync(path.parent)
        return ""
    data = base64.b64decode(file["content"])
    return write_file(path, data, file["mode"], file["owner"], file["group"], file["check"])


def _settle(line: str, seconds: float = SETTLE_SECONDS) -> str:
    return _run(line, seconds) if line else ""


def _save(plan: dict[str, Any]) -> None:
    """Keep the old files and this script: the way back must not need anything that is not on the machine."""
    folder = _state("guard", plan["name"])
    fresh = folder.with_name(f"{folder.name}{SCRATCH}")
    _copy(plan, fresh)
    (fresh / "change.py").write_text(f"import sys\nSOURCES = {SOURCES!r}\n{LOAD}\n{_MAIN}")
    fresh.rename(folder)
    _sync(folder.parent)


def _copy(plan: dict[str, Any], fresh: Path) -> None:
    """The files as they are now, in a new folder."""
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700, parents=True)
    saved = []
    for number, name in enumerate([*(file["path"] for file in plan["files"]), *plan.get("kept", ())]):
        path = ROOT / name.lstrip("/")
        exists = path.is_file()
        if exists:
            (fresh / str(number)).touch(mode=0o600)
            (fresh / str(number)).write_bytes(path.read_bytes())
        info = path.stat() if exists else None
        saved.append(
            {
                "path": name,
                "copy": str(number) if exists else None,
                "mode": info.st_mode & 0o7777 if info else 0,
                "owner": pwd.getpwuid(info.st_uid).pw_name if info else "",
                "group": grp.getgrgid(info.st_gid).gr_name if info else "",
            }
        )
    (fresh / "state.json").write_text(json.dumps({"files": saved, "settle": plan["settle"]}))


def _arm(name: str, seconds: int) -> str:
    """Set the timer, and a unit for the case that power fails before it fires. Returns "" or what went wrong."""
    script = f"/usr/bin/python3 -I /{STATE}/guard/{name}/change.py {name}"
    unit = _boot_unit(name)
    unit.write_text(_BOOT_UNIT.format(name=name, script=script))
    wants = unit.parent / "sysinit.target.wants" / unit.name
    wants.parent.mkdir(exist_ok=True)
    wants.unlink(missing_ok=True)
    wants.symlink_to(unit)
    _run(f"systemctl stop bastide-guard-{name}.timer; systemctl reset-failed bastide-guard-{name}.service")
    # the way back must be on disk before the first file changes: power may fail at any moment after that
    os.sync()
    return _run(
        f"systemd-run --quiet --collect --unit=bastide-guard-{name} --on-active={seconds}"
        f" --timer-property=AccuracySec=200ms {script} timer"
    )


def _disarm(name: str, *, timer: bool = True) -> None:
    if timer:
        _run(f"systemctl stop bastide-guard-{name}.timer")
    unit = _boot_unit(name)
    (unit.parent / "sysinit.target.wants" / unit.name).unlink(missing_ok=True)
    unit.unlink(missing_ok=True)
    folder = _state("guard", name)
    if folder.is_dir():
        # renamed first: a half-removed folder must not look like an unconfirmed change
        gone = folder.with_name(f"{folder.name}{SCRATCH}")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _take_back(name: str, reason: str, *, settle: bool = True) -> str:
    folder = _state("guard", name)
    problems = _put_back(folder)
    if settle and (problem := _settle(json.loads((folder / "state.json").read_text())["settle"])):
        problems.append(problem)
    problem = "; ".join(problems)
    _report_file(name).write_text(json.dumps({"at": int(time.time()), "reason": reason, "problem": problem}))
    return problem


def _put_back(folder: Path) -> list[str]:
    """The files that a folder has kept; what could not be put back."""
    problems = []
    for file in json.loads((folder / "state.json").read_text())["files"]:
        path = ROOT / file["path"].lstrip("/")
        try:
            if file["copy"] is None:
                path.unlink(missing_ok=True)
            else:
                write_file(path, (folder / file["copy"]).read_bytes(), file["mode"], file["owner"], file["group"])
        except (OSError, LookupError) as error:
            # one file that cannot go back must not keep the others, and the service, from it
            problems.append(f"{path} could not be put back: {error}")
    return problems


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One change at a time; a way back that waits longer than a change may take goes ahead all the same."""
    lock_path = ROOT / "run/bastide.lock"
    with open(os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:  # noqa: PTH123
        deadline = time.monotonic() + 2 * SETTLE_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.1)
        yield


def _run(line: str, seconds: float = SETTLE_SECONDS) -> str:
    """Run a shell line. Returns "" when it went well, else what it said."""
    with subprocess.Popen(  # noqa: S602
        line,
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # what the shell waits for holds its outputs open, and would be waited for to its own end
            os.killpg(process.pid, signal.SIGKILL)
            # last, where whoever reads the end of a long output looks first
            return f"{line.strip()}\n(the above had no end within {seconds:g} s)"
    if process.returncode == 0:
        return ""
    return (err.strip() or out.strip() or f"exit code {process.returncode}: {line}")[-2000:]


def _state(kind: str, name: str) -> Path:
    return ROOT / STATE / kind / name


def _report_file(name: str) -> Path:
    return ROOT / STATE / f"{name}.taken-back"


def _boot_unit(name: str) -> Path:
    return ROOT / "etc/systemd/system" / f"bastide-unconfirmed-{name}.service"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fail(problem: str) -> NoReturn:
    print(problem, file=sys.stderr)
    sys.exit(1)


# what the kept copy does when the timer fires, or at the next boot: services start by themselves then
_MAIN = """
restore = sys.modules["deploys.remote.change"].restore
if sys.argv[2] == "boot":
    restore(sys.argv[1], "the machine went down before it was confirmed", settle=False)
else:
    restore(sys.argv[1], "no new login confirmed it in time")
"""

_BOOT_UNIT = """\
[Unit]
Description=Take back the change {name}, which was never confirmed
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target bastide-firewall.service ssh.service systemd-sysctl.service
[Service]
Type=oneshot
ExecStart={script} boot
"""
