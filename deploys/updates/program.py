"""Runs on the machine: what waits for an update or a reboot, since when, and the reboot itself, if the others are well.

    updates.py look      print what is pending, as JSON; changes nothing
    updates.py check     the same, remembered, with an alert in the journal for what waits for too long
    updates.py reboot    reboot if one is pending, every peer answers and every check in /etc/bastide/reboot.d agrees;
                         if only services wait that are restarted by turns: have these run what is installed

Installed as it stands here, so standard library and apt's own Python module only. `/etc/bastide/updates.json` says who
the peers are. No two machines go down at once: who wants to reboot first stops answering its peers' pings and only then
looks whether all of them answer. Of two that want to at the same moment, at least one finds the other silent.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path("/")
CONFIG = Path("etc/bastide/updates.json")
STATE = Path("var/lib/bastide/updates.json")
CHECKS = Path("etc/bastide/reboot.d")
TURNS = Path("etc/bastide/turn.d")  # look, take, leave: bastide/layout/updates.py
DEPLOY = Path("run/bastide-deploy.json")  # deploys/remote/hold.py
TABLE = "bastide_reboot"
ALERT, WARNING, NOTICE = "<1>", "<4>", "<5>"  # sd-daemon(3): the journal's priority at the head of a line
_LOOK_SECONDS = 5  # between two looks at the peers
_CHECK_SECONDS = 120
_TURN_SECONDS = 600
_DAY = 86400


def look() -> dict[str, Any]:
    """What is pending with the time (seconds since the epoch) from which on it is known to be.

    `looked` is the time of the last look that was remembered, None when there was none: everything is new then.
    """
    now, known = time.time(), _json(STATE)
    updates, reboots = known.get("packages", {}), known.get("reboot", {})
    packages = {name: {**found, "since": updates.get(name, now)} for name, found in pending_packages().items()}
    # by kind: the sentence names kernels and programs, which change while the same reboot waits
    reboot = {kind: {"why": why, "since": reboots.get(kind, now)} for kind, why in reboot_reasons().items()}
    turn = {name: {"since": known.get("turn", {}).get(name, now)} for name in outdated()}
    return {"now": now, "looked": known.get("looked"), "packages": packages, "reboot": reboot, "turn": turn}


def check() -> int:
    """Remember what is pending, and raise an alert for what waits for longer than the settings allow."""
    seen, limit = look(), _json(CONFIG)["max_pending_days"]
    parts = ("packages", "reboot", "turn")
    since = {part: {key: found["since"] for key, found in seen[part].items()} for part in parts}
    _write(STATE, {**_json(STATE), "looked": seen["now"], **since})
    waiting = [(f"a security update of {name}", found["since"]) for name, found in seen["packages"].items()]
    waiting += [(f"{name}: a newer program is installed and", found["since"]) for name, found in seen["turn"].items()]
    waiting += [(f"a reboot is pending: {found['why']}", found["since"]) for found in seen["reboot"].values()]
    for what, at in waiting:
        days = (seen["now"] - at) / _DAY
        if days > limit:
            _log(ALERT, f"{what} has waited for {days:.1f} days, at most {limit} are allowed")
        else:
            _log(NOTICE, f"{what} has waited for {days:.1f} days")
    if not waiting:
        _log(NOTICE, "nothing is pending")
    return 0


def reboot() -> int:
    """Reboot when there is a reason and nobody is in the way; else say why not. Does not look at the clock.

    Where only services wait that are restarted by turns, these are.
    """
    reasons, services = reboot_reasons(), outdated()
    if not reasons and not services:
        _log(NOTICE, "no reboot is pending")
        return 0
    config, kernel = _json(CONFIG), _newer_kernel()
    if list(reasons) == ["kernel"] and _json(STATE).get("rebooted_for", {}).get("kernel") == kernel:
        # pinned in the boot loader, or the provider's kernel is booted: the next reboot would end the same
        _log(ALERT, f"no reboot now: {reasons['kernel']}, and the last reboot did not bring it")
        reasons = {}
        if not services:
            return 0
    with _package_lock() as free:
        if not free:
            return _not_now("packages are being installed")
        if problem := _claim(list(config["peers"].values())):
            return _not_now(f"this machine's claim to be the only one cannot be made: {problem}")
        going = False
        try:
            if problem := _silent_peer(config["peers"], config["observe_seconds"]) or _refused() or _deploy():
                return _not_now(problem)
            if problem := _turn("leave" if reasons else "take"):
                return _not_now(problem)
            if not reasons:
                _log(NOTICE, f"what is installed runs now: {', '.join(services)}")
                return 0
            known = _json(STATE)
            _write(STATE, {**known, "rebooted_for": {"kinds": sorted(reasons), "kernel": kernel}})
            because = "; ".join(reasons.values())
            _log(NOTICE, f"rebooting, since {because}. All peers answer: {', '.join(config['peers'])}")
            # with the lock still held: it goes with this process, and by then nothing new is started any more
            going = _run("systemctl", "reboot").returncode == 0
            if not going:
                _write(STATE, known)
        finally:
            if not going:
                _run("nft", "destroy", "table", "inet", TABLE)
    return 0 if going else 1


def outdated() -> list[str]:
    """Services that run an earlier program than the installed one and are restarted by turns."""
    found = []
    for path in _executables(TURNS):
        try:
            found += _run(str(path), "look").stdout.split()
        except (OSError, subprocess.TimeoutExpired):
            continue  # when it is its turn this is said
    return sorted(found)


def pending_packages() -> dict[str, dict[str, str]]:
    """Installed packages of which a security archive has a newer version, whatever pins and holds say of it."""
    import apt_pkg  # type: ignore[import-not-found,unused-ignore]  # Debian's python3-apt, on machines only

    apt_pkg.init()
    cache = apt_pkg.Cache(None)
    ours = {(site, suite) for site, suite in _json(CONFIG).get("upgraded", [])}

    def counts(file: Any) -> bool:  # noqa: ANN401 - apt_pkg.PackageFile
        official = file.origin == "Debian" and file.label == "Debian-Security"
        return official or bool({(file.site, file.archive), (file.site, file.codename)} & ours)

    found = {}
    for package in cache.packages:
        if (current := package.current_ver) is None:
            continue
        for version in package.version_list:
            newer = apt_pkg.version_compare(version.ver_str, current.ver_str) > 0
            if newer and any(counts(file) for file, _ in version.file_list):
                found[package.name] = {"installed": current.ver_str, "available": version.ver_str}
                break
    return found


def reboot_reasons() -> dict[str, str]:
    """Why a reboot is pending, by kind: "asked" for by a package, a newer "kernel", "stale" code that still runs."""
    reasons = {}
    if (ROOT / "run/reboot-required").exists():
        asked = sorted(set(_text(Path("run/reboot-required.pkgs")).split()))
        reasons["asked"] = f"a package asked for it ({', '.join(asked)})" if asked else "a package asked for it"
    if newest := _newer_kernel():
        reasons["kernel"] = f"the kernel {newest} is installed and does not run"
    if stale := sorted(_stale_programs()):
        reasons["stale"] = f"replaced code still runs in {', '.join(stale)}"
    return reasons


def _newer_kernel() -> str:
    """The newest installed kernel when another one runs; "" in a container, which has the kernel of its host."""
    if _run("systemd-detect-virt", "--quiet", "--container").returncode == 0:
        return ""
    newest = os.uname().release
    for path in sorted((ROOT / "boot").glob("vmlinuz-*")):
        if _is_newer(path.name.removeprefix("vmlinuz-"), newest):
            newest = path.name.removeprefix("vmlinuz-")
    return newest if newest != os.uname().release else ""


def _is_newer(version: str, than: str) -> bool:
    """As dpkg has it (deb-version(7)): of 6.12.115+deb13-amd64 and 6.12.115+deb13.1-amd64 the second one."""
    return _run("dpkg", "--compare-versions", version, "gt", than).returncode == 0


def _stale_programs() -> set[str]:
    """Names of processes with code mapped from files below /usr that an upgrade has replaced since they started.

    Not those of services that are restarted by turns.
    """
    found, by_turns = set(), {f"{name}.service" for name in _json(CONFIG).get("by_turns", [])}
    for maps in ROOT.glob("proc/[0-9]*/maps"):
        try:
            # proc_pid_maps(5): address, permissions, offset, device, inode, path; a path that is gone ends in (deleted)
            lines = maps.read_text(errors="replace").splitlines()
            code = (line.split(maxsplit=5) for line in lines if line.endswith("(deleted)"))
            if any(len(words) == 6 and "x" in words[1] and words[5].startswith(("/usr/", "/lib")) for words in code):
                unit = _text((maps.parent / "cgroup").relative_to(ROOT)).strip().rpartition("/")[2]
                if unit not in by_turns:
                    found.add((maps.parent / "comm").read_text().strip())
        except OSError:
            continue  # it has ended
    return found


def _claim(peers: list[str]) -> str:
    """Stop answering the peers' pings: dead, going or silent is all one to them. Returns "" or what went wrong.

    In a table of its own, whose elements lapse by themselves: if this process dies, the claim does not stay.
    """
    elements = ", ".join(f"{peer} timeout 15m" for peer in peers)
    rules = (
        f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n"
        f"set peers {{ type ipv4_addr; flags timeout; elements = {{ {elements} }}; }}\n"
        "chain input { type filter hook input priority filter - 10; policy accept;\n"
        "ip saddr @peers icmp type echo-request drop; }\n}\n"
    )
    done = _run("nft", "-f", "-", stdin=rules)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["nft failed"])[0]


def _silent_peer(peers: dict[str, str], seconds: float) -> str:
    """Look at every peer again and again for this long; which one does not answer, "" when all do every time.

    For a while, since a peer that boots at this moment must not look well by having answered once.
    """
    if not peers:
        return "no peer is known"
    ends = time.monotonic() + seconds
    while True:
        for name, address in peers.items():
            if not any(_run("ping", "-n", "-q", "-c", "1", "-W", "1", address).returncode == 0 for _ in range(2)):
                return f"{name} ({address}) does not answer: it is down, or about to reboot itself"
        if time.monotonic() >= ends:
            return ""
        time.sleep(_LOOK_SECONDS)


def _refused() -> str:
    """The first check of /etc/bastide/reboot.d that does not end with 0, and what it says; "" when all agree."""
    return _first_refusal("the check", CHECKS, seconds=_CHECK_SECONDS)


def _turn(word: str) -> str:
    """Have each of /etc/bastide/turn.d see to its services; what the first that cannot says, "" when all did."""
    return _first_refusal("the turn of", TURNS, word, seconds=_TURN_SECONDS)


def _first_refusal(what: str, folder: Path, *words: str, seconds: float) -> str:
    for path in _executables(folder):
        try:
            done = _run(str(path), *words, seconds=seconds)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{what} {path.name} cannot be run: {error}"
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()
            return f"{what} {path.name} refuses: {said[-1] if said else f'exit {done.returncode}'}"
    return ""


def _executables(folder: Path) -> list[Path]:
    there = ROOT / folder
    return [path for path in sorted(there.iterdir()) if not path.name.startswith(".")] if there.is_dir() else []


def _deploy() -> str:
    """Who deploys to this machine at this moment; "" when nobody does."""
    record = _json(DEPLOY)
    try:
        pid, started = record["session"]
        # proc_pid_stat(5), field 22; the name in field 2 may hold spaces and parentheses
        now = _text(Path(f"proc/{pid}/stat")).rpartition(")")[2].split()[19]
    except (KeyError, ValueError, IndexError):
        return ""
    return f"{record.get('who', 'somebody')} deploys" if int(now) == started else ""


class _package_lock:
    """dpkg's lock for as long as the block lasts; False when somebody else holds it."""

    def __enter__(self) -> bool:
        self._file = (ROOT / "var/lib/dpkg/lock-frontend").open("a+b")
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _not_now(why: str) -> int:
    _log(WARNING, f"no reboot now: {why}")
    return 0


def _log(priority: str, text: str) -> None:
    print(f"{priority}{text}", flush=True)


def _run(*argv: str, stdin: str = "", seconds: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads((ROOT / path).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    try:
        return (ROOT / path).read_text(errors="replace")
    except OSError:
        return ""


def _write(path: Path, value: dict[str, Any]) -> None:
    target = ROOT / path
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    fresh.write_text(json.dumps(value, indent=1) + "\n")
    fresh.replace(target)


def main(words: list[str]) -> int:
    """Do what the one word says."""
    if words == ["look"]:
        print(json.dumps(look()))
        return 0
    verbs = {"check": check, "reboot": reboot}
    if len(words) != 1 or words[0] not in verbs:
        print("usage: updates.py look | check | reboot", file=sys.stderr)
        return 2
    return verbs[words[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
