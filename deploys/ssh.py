"""How people and machines log in: keys only, no root, strong algorithms."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.accounts import SSH_BANNER
from bastide.layout.firewall import TABLE
from bastide.layout.ssh import CONFIG, EXPECTED, MAIN, SAID_TWICE, SOCKET, UNIT
from bastide.mesh import Mesh
from bastide.settings import Firewall, Ssh, Users
from deploys.facts.accounts import ACCOUNTS
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import CONTENTS
from deploys.facts.nftables import TABLES
from deploys.facts.sshd import SSHD
from deploys.facts.units import UNITS
from deploys.fail2ban import Jail
from deploys.here import Here
from deploys.operations.accounts import home_keys
from deploys.operations.admit import admit
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.parts import with_part
from deploys.render import render
from deploys.users import roster

PACKAGES = ("openssh-server",)
_UNITS = [UNIT, SOCKET]
_ALIVE_COUNT = 2  # templates/ssh: ClientAliveCountMax

JAILS = (
    Jail(
        capability="ssh",
        name="sshd",
        # the stock filter counts a refused key only for users who do not exist, and with passwords off there is
        # nothing else to count for those who do (needs LogLevel VERBOSE, see templates/ssh)
        filter="sshd[mode=normal, publickey=any]",
        # Debian's own match leaves out the process that OpenSSH 9.8 and later log from. Failed logins are logged by
        # root in the service (tried); by a program's name alone any account could have any address banned.
        journal=("_SYSTEMD_UNIT=ssh.service _UID=0",),
    ),
)
# Restarted, not reloaded: a reload returns before sshd has read its configuration, and the new login would then prove
# nothing. Sessions live on (KillMode=process, and each is a process of its own). Socket activation would listen on a
# port of its own configuration, so the service takes over from it. What sshd then really does is compared, line by
# line: another file may say something first.
_SETTLE = f"""\
mkdir -p /run/sshd && /usr/sbin/sshd -t || exit 1
systemctl -q disable --now ssh.socket 2>/dev/null
systemctl -q enable ssh.service && systemctl restart ssh.service ||
    {{ journalctl -qu ssh.service -n 5 -o cat >&2; exit 1; }}
[ -e {EXPECTED} ] || exit 0
keys=$(cut -d' ' -f1 {EXPECTED} | sort -u | paste -sd'|')
if other=$(/usr/sbin/sshd -T | grep -E "^($keys) " | sort | diff {EXPECTED} -); then exit 0; fi
echo "sshd does not do what {CONFIG} says (< wanted, > effective):" >&2
echo "another file in /etc/ssh says it first, or adds to it" >&2
echo "$other" | grep '^[<>]' >&2
exit 1
"""


@dataclass(frozen=True)
class Wanted:
    """The settings; who may log in; who pays no penalty for failing to: operators, and who is in the mesh."""

    ssh: Ssh
    users: Users
    firewall: Firewall
    mesh: Mesh | None


@deploy("ssh")
def ssh(wanted: Wanted) -> None:
    """The ssh server, changed under a dead man's switch: it stays only if a new login works."""
    host = this_host()
    packages(name="packages", names=PACKAGES)
    # before sshd moves to another port, the host firewall must let the new one in; the old one closes with `firewall`
    admit(name="port in the host firewall", port=wanted.ssh.port)
    config = config_file(wanted)
    facts = ask(host, SSHD.request(None), UNITS.request(_UNITS), CONTENTS.request([MAIN]))
    confirmed(
        name="ssh server",
        name_="ssh",
        wanted=(config, expected_file(config), *main_files(config, facts)),
        settle=_SETTLE,
        port=wanted.ssh.port,
        drift=drift(config, facts),
    )
    # now that sshd reads keys only where root writes them
    home_keys(name="key files in homes", roster=roster(wanted.users))


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    return Wanted(here.settings.ssh, here.settings.users, here.settings.firewall, here.mesh)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    config = config_file(wanted)
    return merged(
        packages_request(PACKAGES),
        files_request((config, expected_file(config), File(MAIN, ""))),
        CONTENTS.request([MAIN]),
        SSHD.request(None),
        UNITS.request(_UNITS),
        TABLES.request([TABLE]),
        ACCOUNTS.request(roster(wanted.users).asked),
    )


def config_file(wanted: Wanted) -> File:
    """The drop-in that sshd reads first."""
    in_mesh = wanted.mesh.everybody if wanted.mesh else ()
    text = render(
        "ssh/00-bastide.conf.j2",
        port=wanted.ssh.port,
        banner=SSH_BANNER,
        accounts=roster(wanted.users).known,
        max_auth_tries=wanted.ssh.max_auth_tries,
        login_grace_seconds=wanted.ssh.login_grace_seconds,
        alive_seconds=wanted.ssh.idle_minutes * 60 // _ALIVE_COUNT,
        spared=(*wanted.firewall.operators, *(f"{address}/32" for address in in_mesh)),
    )
    return File(CONFIG, text)


def effective(config: File) -> dict[str, list[str]]:
    """What `sshd -T` must print for this drop-in: values by lower-case keyword."""
    wanted: dict[str, list[str]] = {}
    for line in str(config.content).splitlines():
        key, _, value = line.partition(" ")
        if key and not key.startswith("#"):
            # the one keyword with a line for each of its values
            wanted[key.lower()] = value.split() if key == "AllowUsers" else [value]
    return wanted


def expected_file(config: File) -> File:
    """The same as sorted lines, for the comparison on the machine."""
    lines = sorted(f"{key} {value}" for key, values in effective(config).items() for value in values)
    return File(EXPECTED, "\n".join(lines) + "\n")


def main_files(config: File, facts: Facts) -> tuple[File, ...]:
    """Debian's own file: what is most important is said there again, and it is root's alone. What others wrote stays.

    None where there is none yet: it comes with the package.
    """
    if MAIN not in facts[CONTENTS]:
        return ()
    lines = [line for line in str(config.content).splitlines() if line.partition(" ")[0] in SAID_TWICE]
    text = with_part(facts[CONTENTS][MAIN], "".join(f"{line}\n" for line in lines), r"\s*Include\s")
    return (File(MAIN, text, mode=0o600),)


def drift(config: File, facts: Facts) -> str:
    """Why the ssh server is not as wanted although the files may be; "" when it is."""
    units = facts[UNITS]
    if units["ssh.socket"]["ActiveState"] == "active":
        return "ssh is socket-activated; the service takes over"
    if units["ssh.service"]["ActiveState"] != "active" or units["ssh.service"]["UnitFileState"] != "enabled":
        return "the ssh service is not enabled and running"
    off = [key for key, values in effective(config).items() if sorted(facts[SSHD].get(key, [])) != sorted(values)]
    return f"effective configuration differs: {', '.join(off)}" if off else ""
