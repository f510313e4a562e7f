"""etcd on every machine: the members that decide which Postgres leads: in the mesh only, over TLS, by password.

A member comes in one of two ways, told by what all machines of the run say of themselves: nobody has data of a cluster
yet, then all begin one together; or somebody has, then whoever has none joins it, in place of what it was before.
Who has no vote any more is dismissed by the administrator (a site: only there lies the password of etcd's root), and
only then stopped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pyinfra.api.deploy import deploy

from bastide.layout.etcd import (
    CLIENT_AUTHORITY,
    CTL,
    DATA,
    FOLDER,
    FORMING,
    HOME,
    KEEP,
    LEAD,
    PEER_AUTHORITY,
    PEER_CERTIFICATE,
    SNAPSHOTS,
    UNIT,
)
from bastide.layout.updates import TURNS
from bastide.secrets import Keyring
from bastide.settings import Etcd
from deploys.etcd.beginning import Beginning
from deploys.etcd.membership import (
    OWN_HEALTH,
    QUORUM_CHECK,
    Members,
    access_plan,
    authority_files,
    certificate_files,
    config_files,
    health,
    join_plan,
    leave_plan,
    local_access_of,
    members_of,
    packages_of,
    timers,
    tool_files,
    upkeep_files,
)
from deploys.facts.ask import ask, this_host
from deploys.facts.etcd import ETCD_MEMBER, MemberRequest
from deploys.facts.fact import FactRequest, merged
from deploys.facts.programs import OUTDATED
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.local_access import close_to_others
from deploys.operations.etcd import access, dismiss, join, leave
from deploys.operations.files import File, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.phase import phase
from deploys.operations.units import unit
from deploys.operations.volumes import volume, volume_request
from deploys.operations.wait import wait
from deploys.render import render
from deploys.restarts import no_restarts, restart_files

# an election takes 1 to 2 s and a start as long as its log is: many times that on a disk that everybody waits for
_WELL_SECONDS = 30
# The first snapshot at once: the timer takes the next one at night. One member after the other, since each answers
# nobody for a moment; and only when it has caught up with the others: one that has not heard yet that passwords count
# would let this in without one, and then refuse it. Where a site leads the leadership goes first, which its timer would
# give away right now: who asks while it moves is told that the leader has changed.
_TIMERS = f"""\
systemctl daemon-reload && systemctl -q enable {{timers}} && systemctl restart {{timers}} || exit 1
[ ! -e /etc/systemd/system/{LEAD}.service ] || systemctl start {LEAD}.service || exit 1
ls /var/lib/bastide-etcd/snapshot-*.db >/dev/null 2>&1 && exit 0
{{well}}
systemctl start {KEEP}.service || {{{{ journalctl -qu {KEEP} -n 5 -o cat >&2; exit 1; }}}}
"""
# a machine that only votes has none, and keeps nothing of what an earlier release had there
_NO_TIMERS = f"""\
for one in {KEEP} {LEAD}; do
    systemctl -q stop $one.timer 2>/dev/null; rm -f /etc/systemd/system/timers.target.wants/$one.timer
done
rm -rf {SNAPSHOTS} && systemctl daemon-reload
"""


QUORUM_CHECKS = (QUORUM_CHECK,)


@dataclass(frozen=True)
class Wanted:
    """The settings, the members as this machine sees them, the masters, and who administers all members."""

    etcd: Etcd
    members: Members
    keyring: Keyring
    administrator: str


@deploy("etcd")
def etcd(wanted: Wanted, beginning: Beginning) -> None:
    """Whoever votes is a member; on a machine that has no vote, or none any more, no member runs."""
    if wanted.members.votes:
        _member(wanted, beginning)
    phase(name="the members are settled")
    if not wanted.members.votes:
        _no_vote(wanted, whole=beginning.whole)


def wanted_of(here: Here) -> Wanted | None:
    """Nothing in a stack without Postgres."""
    settings = here.settings
    if not settings.etcd_members:
        return None
    members = members_of(settings, here.machine, here.stack)
    return Wanted(settings.etcd, members, here.keyring, settings.etcd_administrator)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    members, keyring = wanted.members, wanted.keyring
    asked = merged(
        packages_request(packages_of(members)),
        local_access_of(members).fact_request(),
        ETCD_MEMBER.request(_asked(members)),
    )
    if not members.votes:
        return merged(asked, files_request((File(FOLDER, None),)))
    written = (
        *restart_files(),
        turn_file(members),
        *config_files(members),
        *authority_files(keyring, apart=True),
        *certificate_files(members, keyring),
        *tool_files(members, keyring),
        *upkeep_files(wanted.etcd, members),
    )
    disk = volume_request("etcd", members.volume, HOME) if members.volume else {}
    return merged(asked, files_request(written), UNITS.request([UNIT]), OUTDATED.request([UNIT]), disk)


def _member(wanted: Wanted, beginning: Beginning) -> None:
    members, keyring, restart = wanted.members, wanted.keyring, _restart(wanted.members, beginning.awaited)
    facts = ask(this_host(), fact_request(wanted))
    seen = facts[ETCD_MEMBER]
    runs = seen["data"] and seen["active"]
    no_restarts()
    # before the packages: etcd's starts it when it is installed, and PostgreSQL's begin a cluster of their own
    if not runs:
        files(name="how it runs", name_="etcd", wanted=config_files(members), settle=restart)
    packages(name="packages", names=packages_of(members))
    close_to_others(local_access_of(members), facts)
    if members.volume:
        # a Postgres that fills the disk takes no vote away
        volume(name="volume", name_="etcd", device=members.volume, path=HOME, owner="etcd", group="etcd", mode=0o700)
    # the authorities first, on every machine: what is signed by a new one must be trusted before it is shown
    trusted = authority_files(keyring, apart=beginning.apart)
    files(name="authorities", name_="etcd-ca", wanted=trusted, settle=restart, _serial=True)
    files(name="certificates", name_="etcd-certificate", wanted=certificate_files(members, keyring))
    files(name="root's tools", name_="etcd-root", wanted=tool_files(members, keyring))
    phase(name="every member is ready to begin")
    plan = join_plan(members, keyring, begins=beginning.begins, dismisses=beginning.whole)
    if members.administers and beginning.whole and not beginning.begins:
        dismiss(name="who votes no more", plan=plan)
    if beginning.begins:
        join(name="begin the cluster", plan=plan)
    else:
        join(name="join the cluster", plan=plan, _serial=True)
    wait(
        name="members agree",
        until=OWN_HEALTH,
        seconds=60,
        unless=f"systemctl -q is-failed {UNIT}",
        for_what=f"a quorum of {UNIT} on {', '.join(members.addresses)}",
        seen=seen["healthy"],
    )
    phase(name="every member is in")
    # one that runs goes down for a change only now, when one that was lost is back: two of three must vote
    if runs:
        files(
            name="how it runs from now on",
            name_="etcd",
            wanted=config_files(members),
            settle=_restart(members, ()),
            drift=facts[OUTDATED][UNIT],
            unit=UNIT,
            _serial=True,
        )
    if not beginning.apart:
        phase(name="every member shows the others what is for members alone")
        files(
            name="authorities, each for its own",
            name_="etcd-ca",
            wanted=authority_files(keyring, apart=True),
            settle=_restart(members, ()),
            _serial=True,
        )
    if members.administers:
        access(name="users and passwords", plan=access_plan(members, keyring))
    unit(name="server", name_=UNIT, state="running")
    files(name="its turn at night", name_="etcd-turn", wanted=(turn_file(members),))
    files(
        name="upkeep",
        name_="etcd-upkeep",
        wanted=upkeep_files(wanted.etcd, members),
        settle=_TIMERS.format(
            timers=" ".join(timers(members)), well=_until_well(members.endpoint, "the member is not well")
        )
        if timers(members)
        else _NO_TIMERS,
        _serial=True,
    )


def _no_vote(wanted: Wanted, *, whole: bool) -> None:
    """No member runs, and other accounts reach no member from here. In a run on some machines it is left alone."""
    host, members = this_host(), wanted.members
    facts = ask(host, fact_request(wanted))
    seen = facts[ETCD_MEMBER]
    if whole:
        leave(name="no member runs", plan=leave_plan(members), administrator=wanted.administrator)
    elif seen["data"] or seen["active"]:
        host.log("note: its member has no vote in the stack file and counts still; next: `make deploy` of all machines")
        return
    packages(name="packages", names=packages_of(members))
    close_to_others(local_access_of(members), facts)


def _restart(members: Members, awaited: Collection[str]) -> str:
    """Let a member that runs take up what is new; one that does not run is started by what follows.

    It goes down only while all others are well: two of three must vote at any moment. But for who is awaited: they come
    in after this, and could not, if what is new is the authority that vouches for them. Then nobody votes for some
    seconds, and the next one waits until Patroni has renewed its lease: it ends its sessions after 3 to 6 s without.
    """
    pause = "sleep 5" if awaited else ":"
    late = f"the member is not well {_WELL_SECONDS} s after its restart; next: journalctl -u {UNIT}"
    return f"""\
systemctl daemon-reload
systemctl -q is-active {UNIT} || exit 0
{_others_are_well(members, awaited)}
systemctl restart {UNIT} || exit 1
{_until_well(members.endpoint, late)}
{pause}
"""


def _others_are_well(members: Members, awaited: Collection[str] = ()) -> str:
    others = " ".join(url for name, url in members.endpoints().items() if name != members.name and name not in awaited)
    return f"""\
for other in {others}; do
    {_until_well("$other", "the member at $other is not well: this one must not go down now")}
done"""


def _until_well(endpoint: str, otherwise: str) -> str:
    """Nobody answers while the members elect, nor right after a start: that is waited for, and not for ever."""
    return (
        f"ends=$(($(date +%s) + {_WELL_SECONDS})); until {health(endpoint)} 2>/dev/null; do "
        f'[ $(date +%s) -lt $ends ] || {{ echo "{otherwise}" >&2; exit 1; }}; sleep 0.5; done'
    )


def turn_file(members: Members) -> File:
    """What its machine's turn at night means for the member."""
    text = render("etcd/turn.j2", unit=UNIT, well=_others_are_well(members), restart=_restart(members, ()))
    return File(f"{TURNS}/10-etcd", text, mode=0o755)


def _asked(members: Members) -> MemberRequest:
    """Who may come in is the administrator's to see to."""
    return {
        "data": DATA,
        "forming": FORMING,
        "health": f"{members.endpoint}/health" if members.votes else "",
        "folder": FOLDER,
        "peer": PEER_CERTIFICATE,
        "authorities": [CLIENT_AUTHORITY, PEER_AUTHORITY],
        "ctl": CTL if members.administers else "",
    }
