"""What is wrong on this machine, as it sees itself: failed units, full disks, a wrong clock, certificates that end,
alerts in the journal. Needs no rights but to read the journal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import ssl
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Finding = dict[str, Any]
"""`what` is wrong, `since` when (seconds since the epoch), what to do `next`; `event` when it happened and is over, the
`last` time then."""
DAY = 86400
CERTIFICATE_DAYS = 21
# Seconds for which something must last before it counts: what a restart or a deploy does in passing is nothing to tell.
_SETTLE = {"unit": 15.0, "disk": 60.0, "clock": 1800.0, "patroni": 120.0}
# A line in the journal is told again when it still comes after the time for repetitions; programs of the platform look
# four times a day, so what they said last holds for so long
_EVENT_SECONDS = DAY / 2
_MOST_EVENTS = 50
_LONGEST = 300
# what people do; what this program says itself; and HAProxy, to which every server that steps down is an alert: each
# switchover and each deploy would be one
_NOT_TOLD = ("user@", "bastide-alerts.", "haproxy.")
# those that hold files of their own; of an overlay only the root counts (of the others the disk below them does)
_FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "vfat", "overlay"}


class Seen(NamedTuple):
    """One thing that is wrong at this moment. `key` names it for as long as it lasts: "unit/x.service"."""

    key: str
    what: str
    next: str


def collect(
    config: dict[str, Any], memory: dict[str, Any], now: float, more: Mapping[str, Callable[[], Iterable[Seen]]]
) -> dict[str, Finding]:
    """All that is wrong, by key. `memory` keeps from one look to the next: since when, and how far the journal is read.

    A look that fails is a finding as well: what cannot be seen is not well. `more` are further looks, by what is
    looked at.
    """
    seen: list[Seen] = []
    looks: tuple[tuple[str, Callable[[], Iterable[Seen]]], ...] = (
        ("units", failed_units),
        ("disks", lambda: full_disks(config["disk_percent"])),
        ("clock", wrong_clock),
        ("certificates", lambda: ending_certificates(config["certificates"], now)),
        ("journal", lambda: _read_journal(memory, now)),
        *more.items(),
    )
    for name, look in looks:
        try:
            seen += look()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            seen.append(Seen(f"look/{name}", f"the {name} cannot be looked at: {text(error)}", "see the journal there"))
    known: dict[str, float] = memory.get("since", {})
    memory["since"] = {one.key: known.get(one.key, now) for one in seen}
    found: dict[str, Finding] = {}
    for one in seen:
        since = memory["since"][one.key]
        if now - since >= _SETTLE.get(one.key.partition("/")[0], 0.0):
            found[one.key] = {"what": one.what, "since": since, "next": one.next, "event": False, "last": now}
    for key, event in memory.get("events", {}).items():
        found[key] = {**event, "event": True}
    return found


def failed_units() -> Iterator[Seen]:
    """Units that systemd has given up."""
    for unit in json.loads(run("systemctl", "list-units", "--failed", "--all", "--output=json") or "[]"):
        name = text(unit["unit"])
        yield Seen(f"unit/{name}", f"the unit {name} has failed", f"journalctl -u {name} -n 50")


def full_disks(percent: int) -> Iterator[Seen]:
    """File systems of which more than `percent` is in use, of their space or of their files."""
    done: set[int] = set()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if kind not in _FILE_SYSTEMS or (kind == "overlay" and mounted != "/"):
            continue
        with contextlib.suppress(PermissionError, FileNotFoundError):
            device = os.stat(mounted).st_dev  # noqa: PTH116 - octal escapes as they are
            state = os.statvfs(mounted)
            if device in done:
                continue
            done.add(device)
            for what, total, free in (
                ("space", state.f_blocks - state.f_bfree + state.f_bavail, state.f_bavail),
                ("files", state.f_files, state.f_favail),
            ):
                used = 100 * (total - free) / total if total else 0.0
                if used >= percent:
                    yield Seen(
                        f"disk/{what}{mounted}",
                        f"the disk at {text(mounted)} is nearly full: {used:.0f} % of its {what}",
                        f"df -h {text(mounted)}; du -xh -d 2 {text(mounted)} | sort -h | tail",
                    )


def wrong_clock() -> Iterator[Seen]:
    """A clock that follows nobody; a container has its host's."""
    if subprocess.run(["systemd-detect-virt", "-q", "--container"], check=False, timeout=20).returncode == 0:
        return
    if run("timedatectl", "show", "-p", "NTPSynchronized", "--value").strip() != "yes":
        yield Seen("clock/time", "the clock follows no time source", "timedatectl timesync-status")


def ending_certificates(paths: list[str], now: float) -> Iterator[Seen]:
    """Certificates of the platform that end soon, or have ended."""
    for path in paths:
        if not Path(path).exists():
            continue
        ends = ssl.cert_time_to_seconds(run("openssl", "x509", "-noout", "-enddate", "-in", path).strip()[9:])
        if (days := (ends - now) / DAY) < CERTIFICATE_DAYS:
            when = f"ends in {days:.0f} days" if days > 0 else "has ended"
            yield Seen(f"certificate/{path}", f"the certificate {path} {when}", "`make deploy` makes it anew")


def text(value: object) -> str:
    """What may stand in a message: one line of bounded length, without anything that a terminal would obey."""
    return re.sub(r"[^\x20-\x7e\xa0-\uffff]+", " ", str(value)).strip()[:_LONGEST]


def run(*argv: str) -> str:
    """What a command prints. Raises `ValueError` when it fails, `subprocess.SubprocessError` when it takes too long."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise ValueError(f"{argv[0]}: {done.stderr.strip() or f'exit {done.returncode}'}")
    return done.stdout


def _read_journal(memory: dict[str, Any], now: float) -> Iterator[Seen]:
    """Remember what came since the last look at priority alert or worse: from services and the kernel, not from what
    people do in their sessions. The first look only notes where the journal ends. It sees nothing that lasts."""
    yield from ()
    base = ("journalctl", "-q", "-o", "json")
    if "cursor" not in memory:
        last = run(*base, "-n", "1").splitlines()
        memory["cursor"] = json.loads(last[-1])["__CURSOR"] if last else ""
        return
    after = (f"--after-cursor={memory['cursor']}",) if memory["cursor"] else ()
    events: dict[str, Any] = memory.setdefault("events", {})
    for line in run(*base, "-p", "alert", "-n", f"+{_MOST_EVENTS * 4}", *after).splitlines():
        entry = json.loads(line)
        memory["cursor"] = entry["__CURSOR"]
        unit = text(entry.get("_SYSTEMD_UNIT") or "")
        kernel = entry.get("_TRANSPORT") == "kernel"
        service = unit.endswith(".service") and not unit.startswith(_NOT_TOLD)
        if not (kernel or service):
            continue
        message = entry.get("MESSAGE")
        says = text(message if isinstance(message, str) else "(not text)")
        who = "the kernel" if kernel else unit
        # numbers change from one time to the next while the matter stays the same
        kind = hashlib.sha256(re.sub(r"[0-9]+", "0", says).encode()).hexdigest()[:12]
        key = f"journal/{unit or 'kernel'}/{kind}"
        at = int(entry.get("__REALTIME_TIMESTAMP", now * 1e6)) / 1e6
        next_ = "journalctl -p alert -n 20" if kernel else f"journalctl -u {unit} -n 50"
        known = events.get(key, {"since": at})
        events[key] = {"what": f"{who} says: {says}", "since": known["since"], "last": at, "next": next_}
    kept = sorted(events.items(), key=lambda item: float(item[1]["last"]))[-_MOST_EVENTS:]
    memory["events"] = {key: one for key, one in kept if now - one["last"] < _EVENT_SECONDS}
