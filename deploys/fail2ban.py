"""Who fails to log in too often is dropped, but never an operator, a server of the stack or the private network."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.fail2ban import DATABASE, UNIT
from bastide.layout.sandbox import FAIL2BAN as SANDBOX
from bastide.machines import Machine
from bastide.mesh import Mesh
from bastide.settings import Fail2ban, Firewall, Network
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.fail2ban import FAIL2BAN
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.modules import contributions
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.units import unit
from deploys.render import render
from deploys.sandboxed import drop_in

PACKAGES = ("fail2ban", "nftables", "python3-systemd")
COMMON = "/etc/fail2ban/jail.d/bastide.local"
_LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True)
class Wanted:
    """The settings, and who is never banned: operators, the private network, machines, and who is in the mesh."""

    fail2ban: Fail2ban
    firewall: Firewall
    network: Network
    machines: tuple[Machine, ...]
    mesh: Mesh | None = None


@dataclass(frozen=True)
class Jail:
    """What one capability wants watched. `capability` is its word, `name` fail2ban's, `filter` as in jail.conf(5).

    Lines come from the journal (`journal`: matches of which one must hold, journalctl(1)) or from files (`logs`, which
    must exist when fail2ban starts). Tries, times and what a ban does are the same for all, from the settings. A
    capability that has something to watch has its jails in a tuple `JAILS` of its own module.
    """

    capability: str
    name: str
    filter: str
    journal: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()


@deploy("fail2ban")
def fail2ban(wanted: Wanted) -> None:
    """The jails, changed under a dead man's switch: they stay only if a new login works."""
    host = this_host()
    facts = ask(host, FAIL2BAN.request(None), UNITS.request([UNIT]))
    networks = spared(wanted)
    files = jail_files(wanted.fail2ban, networks)
    # before the package: it starts itself when it is installed, and must not ban by Debian's own jail meanwhile
    confirmed(
        name="jails",
        name_="fail2ban",
        wanted=(*files, *undeclared(files, facts[FAIL2BAN]["files"])),
        settle=settle(wanted.fail2ban),
        port=None,
        drift=drift(wanted.fail2ban, networks, facts),
    )
    packages(name="packages", names=PACKAGES)
    unit(name="server", name_=UNIT, state="running")


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    settings = here.settings
    return Wanted(settings.fail2ban, settings.firewall, settings.network, here.machines, here.mesh)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    files = jail_files(wanted.fail2ban, spared(wanted))
    return merged(packages_request(PACKAGES), files_request(files), FAIL2BAN.request(None), UNITS.request([UNIT]))


def jails() -> tuple[Jail, ...]:
    """What all capabilities want watched."""
    return tuple(contributions("JAILS"))


def spared(wanted: Wanted) -> tuple[str, ...]:
    """All networks that are never banned: those of operators, of machines, and everybody in the mesh."""
    own = [address for machine in wanted.machines for address in (machine.address, machine.address6) if address]
    vpn = wanted.mesh.everybody if wanted.mesh else ()
    networks = (*_LOOPBACK, *wanted.firewall.operators, wanted.network.range, *own, *vpn, *wanted.fail2ban.spared)
    return tuple(dict.fromkeys(str(ipaddress.ip_network(word)) for word in networks))


def jail_files(wanted: Fail2ban, networks: tuple[str, ...]) -> tuple[File, ...]:
    """What the server may, its values, what all jails share, and a file for each capability that has something to
    watch."""
    common = render(
        "fail2ban/bastide.local.j2",
        spared=networks,
        max_tries=wanted.max_tries,
        find_minutes=wanted.find_minutes,
        ban_minutes=wanted.ban_minutes,
        max_ban_days=wanted.max_ban_days,
    )
    server = render("fail2ban/bastide-server.local.j2", database=DATABASE, remember_days=wanted.remember_days)
    return (
        drop_in(SANDBOX, render("fail2ban/bastide.conf.j2", sandbox=SANDBOX)),
        File("/etc/fail2ban/fail2ban.d/bastide.local", server),
        File(COMMON, common),
        *(File(_jail_path(jail), render("fail2ban/bastide-jail.local.j2", jail=jail)) for jail in jails()),
    )


# Restarted, not reloaded: a reload keeps an old database and old rules. Bans come back from the database, but those of
# networks that are spared by now (seen with 1.1.0). Without our files fail2ban must not run: Debian's own jail knows no
# operators. Before the package is installed there is nothing to do: it then starts with our files.
_SETTLE = """\
systemctl daemon-reload
command -v fail2ban-client >/dev/null || exit 0
if [ ! -e @COMMON@ ]; then systemctl -q disable --now @UNIT@; exit 0; fi
problem=$(fail2ban-client -t 2>&1) || { echo "$problem" >&2; exit 1; }
systemctl -q enable @UNIT@; systemctl reset-failed @UNIT@; systemctl restart @UNIT@ || exit 1
for try in $(seq 50); do { @ANSWERS@; } >/dev/null 2>&1 && break; sleep 0.2; done
{ @ANSWERS@; } >/dev/null 2>&1 ||
    { journalctl -qu @UNIT@ -p warning -n 5 -o cat >&2; echo "fail2ban does not answer" >&2; exit 1; }
{ @VALUES@; } && exit 0
echo "fail2ban does not do what @COMMON@ says: another file in /etc/fail2ban/jail.d says it later" >&2
exit 1
"""


def settle(wanted: Fail2ban) -> str:
    """The shell line that makes the files effective, and fails when somebody else's file has the last word."""
    values = {"maxretry": wanted.max_tries, "findtime": wanted.find_minutes * 60, "bantime": wanted.ban_minutes * 60}
    answers = [f"fail2ban-client status {jail.name}" for jail in jails()]
    same = [
        f'[ "$(fail2ban-client get {jail.name} {key})" = {value} ]' for jail in jails() for key, value in values.items()
    ]
    filled = {"@COMMON@": COMMON, "@UNIT@": UNIT, "@ANSWERS@": " && ".join(answers), "@VALUES@": " && ".join(same)}
    line = _SETTLE
    for mark, text in filled.items():
        line = line.replace(mark, text)
    return line


def undeclared(files: tuple[File, ...], there: list[str]) -> tuple[File, ...]:
    """The jails of capabilities that are gone: their files, to be removed. Other people's files stay."""
    declared = {file.path for file in files}
    return tuple(File(path, None) for path in there if path not in declared)


def drift(wanted: Fail2ban, networks: tuple[str, ...], facts: Facts) -> str:
    """Why fail2ban does not do what the files say; "" when it does."""
    server = facts[FAIL2BAN]["server"]
    if facts[UNITS][UNIT]["UnitFileState"] != "enabled" or server is None:
        return "fail2ban is not enabled and running"
    if (server["dbfile"], server["dbpurgeage"]) != (DATABASE, wanted.remember_days * 86400):
        return "fail2ban does not keep its bans as declared"
    values = {
        "maxretry": wanted.max_tries,
        "findtime": wanted.find_minutes * 60,
        "bantime": wanted.ban_minutes * 60,
        "ignoreip": sorted(_normal(word) for word in networks),
    }
    for name in (jail.name for jail in jails()):
        jail = server["jails"].get(name)
        if jail is None:
            return f"the jail {name} does not run"
        is_now = {**jail, "ignoreip": sorted(_normal(word) for word in jail["ignoreip"])}
        if off := [key for key, value in values.items() if is_now[key] != value]:
            return f"the jail {name} has other values than declared: {', '.join(off)}"
        if jail["without_rule"]:
            return f"the jail {name} lacks its rules: somebody flushed them"
    return ""


def _jail_path(jail: Jail) -> str:
    return f"/etc/fail2ban/jail.d/bastide-{jail.capability}.local"


def _normal(word: str) -> str:
    try:
        return str(ipaddress.ip_network(word, strict=False))
    except ValueError:
        return word  # a host name in somebody's file: it differs from what is declared, and is said to
