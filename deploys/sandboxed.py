"""Units and drop-ins that hold a service to what it may: systemd itself is asked before one is put in place."""

from __future__ import annotations

import shlex

from bastide.layout.sandbox import Sandbox
from deploys.operations.files import File

_UNITS = "/etc/systemd/system"
# The new file in a tree of its own, with whatever else makes up the unit here: what counts is what systemd would read.
# A package that is not there yet has no unit. A directive that this systemd does not know would only be skipped.
_ASK = r"""
unit=$1 limit=$2 account=$3 of=$4 new=$5 own=@UNITS@ vendor=/usr/lib/systemd/system
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
mkdir -p "$root$own/$unit.d" "$root$vendor"
for place in "$vendor" "$own"; do
    for part in "$unit" "$unit.d"; do
        [ ! -e "$place/$part" ] || cp -RL "$place/$part" "$root$place/" || exit 1
    done
done
cp "$new" "$root$own/$of" || exit 1
[ -e "$root$vendor/$unit" ] || [ -e "$root$own/$unit" ] ||
    printf '[Service]\nUser=%s\nExecStart=/bin/true\n' "$account" > "$root$vendor/$unit"
said=$(systemd-analyze --no-pager security --offline=yes --root="$root" --threshold="$limit" "$unit" 2>&1)
code=$?
unknown=$(printf '%s\n' "$said" | sed -n "s/.*Unknown key \(name \)\{0,1\}'\([A-Za-z]*\)'.*/\2=/p" |
    sort -u | tr '\n' ' ')
if [ "$unknown" ]; then
    echo "the systemd here does not know $unknown: it would not hold $unit to that" >&2
    echo "next: upgrade the machine to the systemd of Debian 13 (257); nothing of this was put in place" >&2
    exit 1
fi
[ "$code" = 0 ] && exit 0
counted=$(printf '%s\n' "$said" | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p')
[ "$counted" ] || { printf '%s\n' "$said" | tail -n 3 >&2; exit 1; }
echo "$unit would have $counted points of exposure, at most $(echo "$limit" | sed 's/.$/.&/') are allowed" >&2
echo "next: find what opens it (systemctl cat $unit): a drop-in beside ours, or bastide/layout/sandbox.py" >&2
exit 1
"""


def unit_file(one: Sandbox, text: str) -> File:
    """The service's own unit."""
    return _file(one, one.unit, text)


def drop_in(one: Sandbox, text: str) -> File:
    """A drop-in to a unit of Debian's."""
    return _file(one, f"{one.unit}.d/bastide.conf", text)


def _file(one: Sandbox, name: str, text: str) -> File:
    words = (one.unit, f"{one.exposure * 10:.0f}", one.account, name)
    check = shlex.join(("sh", "-c", _ASK.replace("@UNITS@", _UNITS), "sh", *words))
    return File(f"{_UNITS}/{name}", text, check=check)
