"""When a machine upgrades and reboots, what waits, and where its packages come from."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from bastide.layout import alerts, postgres
from bastide.layout.updates import CHECKS, CONFIG, MEMORY, POLICY, PROGRAM, REBOOT_TIMER, ROLLED, TIMERS, TURNS
from bastide.machines import Machine
from bastide.settings import Updates
from tests.verify.probes.batch import ask, command
from tests.verify.probes.engine import FIRST, probe
from tests.verify.probes.listed import listed
from tests.verify.probes.scripts import script, sent
from tests.verify.probes.systemd import show
from tests.verify.probes.world import Output, World

# a proxy or an archive may have a user and a password in its address: nobody's to see
_BARE = "sed 's,//[^/@ ]*@,//,g'"
_STAMPS = """for file in /var/lib/apt/periodic/upgrade-stamp /var/lib/apt/periodic/update-stamp \
    /var/lib/dpkg/info/unattended-upgrades.list; do
  stat -c '%Y %n' $file 2>/dev/null
done
sed -n 's/^Date: /Date: /p' /var/lib/apt/lists/*-security_InRelease; true"""
# all that are configured, then those that were ever fetched with their keys; a key that stands in a source's own file
# comes over several lines
_SOURCES = """python3 -I -c 'import apt_pkg
apt_pkg.init()
configured = apt_pkg.SourceList()
configured.read_main_list()
for one in configured.list: print("=", one.uri, one.dist)' &&
apt-get indextargets --format '# $(SITE) $(RELEASE) $(SIGNED_BY)'"""
# what a single source may say to be spared from checks (sources.list(5)); apt gives no account of it
_SPARED = "trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure|check-valid-until|check-date"
_KEYS = """for file in /etc/apt/trusted.gpg /etc/apt/trusted.gpg.d/*; do
  [ -e "$file" ] && { dpkg -S "$file" >/dev/null 2>&1 || echo "$file"; }
done; true"""

# what installs updates, and what other checks let speak for itself
_JUDGED = ("apt", "unattended-upgrades", "openssh-server", "fail2ban", "nftables")

apt_config = command("aptconfig", f"apt-config dump | {_BARE}", shows="apt-config dump")
last_runs = command(
    "aptruns",
    f"date +%s; {_STAMPS}",
    shows="stat /var/lib/apt/periodic/*-stamp; grep ^Date: /var/lib/apt/lists/*-security_InRelease",
)
sources = command(
    "aptsources",
    f"found=$({_SOURCES}) || exit 1; printf '%s\\n' \"$found\" | {_BARE}",
    shows="apt-get indextargets --format '$(SITE) $(RELEASE) $(SIGNED_BY)'; apt_pkg.SourceList of python3-apt",
)
spared_sources = command(
    "aptoptions",
    f"grep -rshiE '(^|[[ ])({_SPARED}) *[:=]' /etc/apt/sources.list /etc/apt/sources.list.d | {_BARE}",
)
apt_keys = command(
    "aptkeys",
    f"{_KEYS}; dpkg --verify debian-archive-keyring",
    shows="dpkg -S /etc/apt/trusted.gpg.d/*; dpkg --verify debian-archive-keyring",
)
timers = command("timers", show(*(unit for timer in TIMERS for unit in (timer, timer.replace(".timer", ".service")))))
pending = command(
    "pending",
    lambda world, machine: script(
        {
            "memory": MEMORY,
            "archives": upgraded(world.settings.updates),
            "by_turns": ROLLED if world.settings.postgres else (),
        },
        "pending",
    ),
    shows=f"apt_pkg.Cache of python3-apt; ls /run/reboot-required /boot; grep deleted /proc/*/maps; cat {MEMORY}",
)
installs = command(
    "installs",
    sent("installs"),
    shows="apt list '~i?obsolete'; apt-config dump; dpkg-divert --list; cat /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/*",
)
rolled = command(
    "rolled",
    script(
        {
            "services": {"etcd": "etcd-server", "haproxy": "haproxy", "patroni": "patroni", "pgbouncer": "pgbouncer"},
            "python": ["patroni"],
            "server": [postgres.DATA, f"postgresql-{postgres.VERSION}"],
        },
        "rolled",
    ),
    shows="/usr/sbin/policy-rc.d patroni restart; ls -l /proc/*/exe; systemctl show patroni",
)
would_take = listed(
    "planted",
    script(
        {
            "program": "/usr/bin/unattended-upgrade",
            "codename": "trixie-security",
            "suite": "stable-security",
            "whole": "openssh-server",
        },
        "planted",
    ),
)
helpers = command(
    "helpers",
    script(
        {
            "places": ["/usr/local/lib/bastide/**/*", "/usr/local/sbin/bastide*", POLICY, f"{TURNS}/*", f"{CHECKS}/*"],
            "but": [PROGRAM, alerts.PROGRAM, f"{CHECKS}/.about", f"{TURNS}/.about"],
        },
        "programs",
    ),
    shows=f"sha256sum /usr/local/lib/bastide/* /usr/local/sbin/bastide* {POLICY} {TURNS}/* {CHECKS}/*",
)
# as apt fetches, by whatever proxy it was told to: of a dead one it keeps the old lists, and calls that a success
_FETCH = """folder=$(mktemp -d -p /run) && chown _apt "$folder" || exit 1
python3 -I -c 'import apt_pkg
apt_pkg.init()
sources = apt_pkg.SourceList()
sources.read_main_list()
for one in sources.list: print(one.uri, one.dist)' | sed 's,//[^/@ ]*@,//,' | sort -u | while read -r site suite; do
  case $suite in *-security) ;; *) continue ;; esac
  url="${site%/}/dists/$suite/InRelease"
  if /usr/lib/apt/apt-helper -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 \\
      download-file "$url" "$folder/InRelease" >/dev/null 2>&1 && [ -s "$folder/InRelease" ]; then
    echo "got $url"
  else
    echo "not $url"
  fi
  rm -f "$folder/InRelease"
done
rm -rf "$folder"
"""
fetched = command(
    "aptfetch", _FETCH, shows="/usr/lib/apt/apt-helper download-file .../InRelease (each security archive)"
)
unchanged = command(
    "unchanged",
    f"for name in {' '.join(_JUDGED)}; do dpkg --verify $name 2>&1 | grep -v ' c ' | sed \"s/^/$name /\"; done; true",
    shows=f"dpkg --verify {' '.join(_JUDGED)}",
)
program = command("program", f"sha256sum {PROGRAM}; cat {CONFIG}")


@probe()
def planted(world: World, machine: Machine) -> tuple[str, Output]:
    """What unattended-upgrades would do with a newer version of every installed package, in a planted archive."""
    shown = "# unattended-upgrade's calculate_upgradable_pkgs, with a planted archive that is Debian-Security's by name"
    return shown, would_take.run(world, machine)


@probe(order=FIRST, asks=(timers,))
def all_timers(world: World, machine: Machine) -> tuple[str, dict[str, Output]]:
    """The timers of every machine: windows are windows only beside each other."""
    shown = f"# systemctl show {REBOOT_TIMER} (every machine)"
    return shown, {other.name: ask(world, other, timers) for other in world.inventory}


def upgraded(wanted: Updates) -> list[tuple[str, str]]:
    """The declared archives whose packages are upgraded by themselves, as (site, suite)."""
    return [(urlsplit(one.url).hostname or "", one.suite) for one in wanted.sources.values() if one.upgrade]


def apt_values(output: Output) -> tuple[dict[str, str], dict[str, list[str]]]:
    """`apt-config dump`: single values (the last one counts, as for apt) and lists, by key."""
    single: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for key, value in re.findall(r'^(\S+) "(.*)";$', output.text, re.MULTILINE):
        if key.endswith("::"):
            lists.setdefault(key[:-2], []).append(value)
        else:
            single[key] = value
    return single, lists


def parsed(output: Output, problem: str) -> Any:
    """JSON that a program printed. `problem` is the reason that is given when it is none."""
    try:
        return json.loads(output.text)
    except ValueError:
        raise AssertionError(problem) from None


def flat(key: str) -> str:
    """A key without its line ends, which everybody shows in their own way."""
    return re.sub(r"[\s.]+", "", key)
