"""etcd on every machine: the voters that decide which Postgres leads: in the mesh only, over TLS, by password.

A member comes in one of two ways, told by what all machines of the run say of themselves: nobody has data of a cluster
yet, then all begin one together; or somebody has, then whoever has none joins it, in place of what it was before.
Who has no vote any more is dismissed by the witness, and only then stopped.
"""

from __future__ import annotations

from collections.abc import Collection

from pyinfra.api.deploy import deploy

from bastide.secrets import Keyring
from bastide.settings import Etcd
from deploys.facts.machine import Question, ask, merged, this_host
from deploys.operations.accounts import no_login
from deploys.operations.etcd import access, dismiss, join, leave
from deploys.operations.files import File, files, files_question
from deploys.operations.packages import packages, packages_question
from deploys.operations.phase import phase
from deploys.operations.units import unit
from deploys.operations.volumes import volume, volume_question
from deploys.operations.wait import wait
from deploys.voter import (
    CTL,
    DATA,
    FOLDER,
    FORMING,
    HOME,
    KEEP,
    LEAD,
    OWN_HEALTH,
    UNIT,
    Voters,
    access_plan,
    authority_file,
    certificate_files,
    config_files,
    guard_of,
    join_plan,
    leave_plan,
    packages_of,
    root_files,
    timers,
    upkeep_files,
)

# The first snapshot at once: the timer takes the next one at night. One member after the other, since each answers
# nobody for a moment; and only when it has caught up with the others: one that has not heard yet that passwords count
# would let this in without one, and then refuse it. On the witness the leadership comes first, which its timer would
# bring right now: who asks while it moves is told that the leader has changed.
_TIMERS = f"""\
systemctl daemon-reload && systemctl -q enable {{timers}} && systemctl restart {{timers}} || exit 1
[ ! -e /etc/systemd/system/{LEAD}.service ] || systemctl start {LEAD}.service || exit 1
ls /var/lib/bastide-etcd/snapshot-*.db >/dev/null 2>&1 && exit 0
problem=$({CTL} --endpoints={{own}} endpoint health 2>&1) &&
    systemctl start {KEEP}.service || {{{{ echo "$problem" >&2; journalctl -qu {KEEP} -n 5 -o cat >&2; exit 1; }}}}
"""


@deploy("etcd")
def etcd(wanted: Etcd, voters: Voters, keyring: Keyring, begins: bool, awaited: Collection[str], whole: bool) -> None:
    """`begins`: whether there is no cluster yet, so that one is begun; `awaited`: voters that hold nothing yet (both:
    see deploys/claims.py); `whole`: whether all machines are in this run, so that somebody may lose a vote."""
    guard, restart = guard_of(voters), _restart(voters, awaited)
    seen = ask(this_host(), **question(wanted, voters, keyring))
    runs = seen["etcd"]["data"] and seen["etcd"]["active"]
    # before the packages: etcd's starts it when it is installed, and PostgreSQL's begin a cluster of their own
    if not runs:
        files(name="how it runs", name_="etcd", wanted=config_files(voters), settle=restart)
    packages(name="packages", names=packages_of(voters))
    if not voters.witness:
        no_login(name="account of the database's packages", account="postgres")
    files(
        name="closed to other accounts",
        name_="etcd-guard",
        wanted=guard.files(),
        settle=guard.settle(),
        drift=guard.drift(seen),
    )
    if voters.volume:
        # a Postgres that fills the disk takes no vote away
        volume(name="volume", name_="etcd", device=voters.volume, path=HOME, owner="etcd", group="etcd", mode=0o700)
    # the authorities first, on every machine: what is signed by a new one must be trusted before it is shown
    files(name="authority", name_="etcd-ca", wanted=(authority_file(keyring),), settle=restart, _serial=True)
    files(name="certificate", name_="etcd-certificate", wanted=certificate_files(voters, keyring))
    files(name="root's access", name_="etcd-root", wanted=root_files(voters, keyring))
    phase(name="every voter is ready to begin")
    plan = join_plan(voters, keyring, begins=begins, dismisses=whole)
    if voters.witness and whole and not begins:
        dismiss(name="who votes no more", plan=plan)
    if begins:
        join(name="begin the cluster", plan=plan)
    else:
        join(name="join the cluster", plan=plan, _serial=True)
    wait(
        name="voters agree",
        until=OWN_HEALTH,
        seconds=60,
        unless=f"systemctl -q is-failed {UNIT}",
        for_what=f"a quorum of {UNIT} on {', '.join(voters.addresses)}",
        seen=seen["etcd"]["healthy"],
    )
    phase(name="every voter is in")
    # one that runs goes down for a change only now, when one that was lost is back: two of three must vote
    if runs:
        files(
            name="how it runs from now on",
            name_="etcd",
            wanted=config_files(voters),
            settle=_restart(voters, ()),
            _serial=True,
        )
    if voters.witness:
        access(name="users and passwords", plan=access_plan(voters, keyring))
    unit(name="server", name_=UNIT, state="running")
    files(
        name="upkeep",
        name_="etcd-upkeep",
        wanted=upkeep_files(wanted, voters),
        settle=_TIMERS.format(timers=" ".join(timers(voters)), own=voters.endpoint),
        _serial=True,
    )


@deploy("etcd")
def no_vote(voters: Voters, witness: str, whole: bool) -> None:
    """On a machine that has no vote, or none any more: no member runs, and other accounts reach no voter from it.

    `whole`: whether all machines are in this run; otherwise a member is left alone. `witness`: who says whether it
    counts still.
    """
    host, guard = this_host(), guard_of(voters)
    seen = ask(host, **no_vote_question(voters))
    if whole:
        leave(name="no member runs", plan=leave_plan(voters), witness=witness)
    elif seen["etcd"]["data"] or seen["etcd"]["active"]:
        host.log("note: its voter has no vote in the stack file and counts still; next: `make deploy` for all machines")
        return
    packages(name="packages", names=packages_of(voters))
    no_login(name="account of the database's packages", account="postgres")
    files(
        name="closed to other accounts",
        name_="etcd-guard",
        wanted=guard.files(),
        settle=guard.settle(),
        drift=guard.drift(seen),
    )


def no_vote_question(voters: Voters) -> Question:
    """The same for a machine without a vote."""
    return merged(
        packages_question(packages_of(voters)),
        files_question((File(FOLDER, None),)),
        guard_of(voters).question(),
        {"accounts": ["postgres"], "etcd": _asked(voters)},
    )


def question(wanted: Etcd, voters: Voters, keyring: Keyring) -> Question:
    """All that this capability will ask a machine."""
    written = (
        *config_files(voters),
        authority_file(keyring),
        *certificate_files(voters, keyring),
        *root_files(voters, keyring),
        *upkeep_files(wanted, voters),
    )
    return merged(
        packages_question(packages_of(voters)),
        files_question(written),
        guard_of(voters).question(),
        volume_question("etcd", voters.volume, HOME) if voters.volume else {},
        {"units": [UNIT], "etcd": _asked(voters)},
        {} if voters.witness else {"accounts": ["postgres"]},
    )


def _restart(voters: Voters, awaited: Collection[str]) -> str:
    """Let a member that runs take up what is new; one that does not run is started by what follows.

    It goes down only while all others are well: two of three must vote at any moment. But for who is awaited: they come
    in after this, and could not, if what is new is the authority that vouches for them. Then nobody votes for some
    seconds, and the next one waits until Patroni has renewed its lease: it ends its sessions after 3 to 6 s without.
    """
    pause = "sleep 5" if awaited else ":"
    others = " ".join(url for name, url in voters.endpoints().items() if name != voters.name and name not in awaited)
    return f"""\
systemctl daemon-reload
systemctl -q is-active {UNIT} || exit 0
for other in {others}; do
    ETCDCTL_ENDPOINTS=$other {CTL} endpoint health >/dev/null 2>&1 ||
        {{ echo "the voter at $other is not well: this one must not go down now" >&2; exit 1; }}
done
systemctl restart {UNIT} && for try in $(seq 50); do
    ETCDCTL_ENDPOINTS={voters.endpoint} {CTL} endpoint health >/dev/null 2>&1 && {{ {pause}; exit 0; }}
    sleep 0.2
done
echo "the voter is not well after its restart" >&2; exit 1
"""


def _asked(voters: Voters) -> dict[str, object]:
    """What the area `etcd` of deploys/remote/look_cluster.py is told. Who may come in is the witness's to see to."""
    return {
        "data": DATA,
        "forming": FORMING,
        "health": f"{voters.endpoint}/health" if voters.votes else "",
        "folder": FOLDER,
        "ctl": CTL if voters.witness else "",
    }
