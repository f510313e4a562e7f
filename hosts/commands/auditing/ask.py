"""Ask the auditors that can be had by name, on one machine, as root. Nothing of them stays there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bastide.console import Completed, run, step
from bastide.errors import BastideError
from hosts.commands.auditing.lynis import CONTAINER, Lynis, lynis_from

_SECONDS = {"Lynis": 900.0, "systemd": 60.0, "debsums": 600.0}
# Debian's package, from the machine's own archives with their signatures, unpacked and not installed: it is an auditor
# there for as long as it runs, and no script of its maintainers is run. /var/tmp: programs may run there (kernel-05).
# What it prints is for people; the report is in a file of its own.
_LYNIS = """
set -eu
export LC_ALL=C.UTF-8
folder=$(mktemp -d /var/tmp/bastide-audit.XXXXXX)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' HUP INT TERM
chmod 0711 "$folder"
install -d -o _apt "$folder/archive"
cd "$folder/archive"
apt-get -qq download lynis >&2
dpkg-deb -x lynis_*.deb "$folder/lynis"
cd "$folder/lynis/usr/share/lynis"
set +e
sh "$folder/lynis/usr/sbin/lynis" audit system --usecwd --quiet --quick --no-colors \\
    --profile "$folder/lynis/etc/lynis/default.prf" --plugindir "$folder/lynis/etc/lynis/plugins" \\
    --logfile "$folder/log" --report-file "$folder/report" >"$folder/said" 2>&1 </dev/null
[ -s "$folder/report" ] || { tail -n 3 "$folder/said" >&2; exit 1; }
cat "$folder/report"
echo "{CONTAINER}=$(systemd-detect-virt --container)"
""".replace("{CONTAINER}", CONTAINER)
_SYSTEMD = "systemd-analyze security --no-pager --json=short"
# what differs is printed, and is no failure of this call; what a package may have changed there (conffiles) is left out
_DEBSUMS = "export LC_ALL=C.UTF-8; command -v debsums >/dev/null || exit 127; debsums -c 2>&1; true"


@dataclass(frozen=True)
class Audit:
    """What was found on a machine. `exposure`: by unit, of 10. `changed`: lines of debsums."""

    name: str
    lynis: Lynis
    exposure: dict[str, float]
    changed: tuple[str, ...]


def audit(name: str, config: Path, root: Path) -> Audit:
    """Ask a machine. `config` is the stack's ssh_config. Raises `BastideError` when one of them does not answer."""
    report = _asked(name, "Lynis", _LYNIS, config, root)
    exposure = exposure_from(_asked(name, "systemd", _SYSTEMD, config, root))
    changed = _asked(name, "debsums", _DEBSUMS, config, root)
    return Audit(name, lynis_from(report), exposure, tuple(line for line in changed.splitlines() if line.strip()))


def exposure_from(text: str) -> dict[str, float]:
    """What `systemd-analyze security --json=short` says, by unit."""
    return {one["unit"]: float(one["exposure"]) for one in json.loads(text)}


def _asked(name: str, what: str, script: str, config: Path, root: Path) -> str:
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", name, "sudo -n sh -s"]
    with step(f"{name}: {what}"):
        done = _run(words, script, root, _SECONDS[what])
        if done.returncode == 127 and what == "debsums":
            raise BastideError(f"{name} has no debsums", "make deploy")
        if not done.ok:
            reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise BastideError(f"{what} did not answer on {name}: {reason}", _next(name, config, reason))
    return done.stdout


def _run(words: Sequence[str], script: str, root: Path, seconds: float) -> Completed:
    return run(words, input=script, cwd=root, check=False, timeout=seconds)


def _next(name: str, config: Path, reason: str) -> str:
    if "locate" in reason or "fetch" in reason.lower():  # apt's words for lists that are too old, or not there
        return f"`sudo apt-get update` on {name}, then the same command again"
    return f"`ssh -v -F {config} {name}` says more"
