"""An encrypted mesh: every machine reaches every other one, administrators reach the machines, nobody else anything.

Debian's wg-quick@wg0 brings it up, in the kernel where that has WireGuard and else by wireguard-go (wg-quick(8) falls
back to it). Peers change by `wg syncconf`, which interrupts no other peer.
"""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from bastide.layout.firewall import TABLE
from bastide.layout.wireguard import CONFIG, INTERFACE, UNIT
from deploys.facts.ask import this_host
from deploys.facts.fact import FactRequest, merged
from deploys.facts.nftables import TABLES
from deploys.facts.units import UNITS
from deploys.facts.wireguard import WIREGUARD
from deploys.here import Here
from deploys.modules import contributions
from deploys.operations.admit import admit
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.phase import phase
from deploys.operations.units import unit
from deploys.operations.wait import wait
from deploys.wireguard.plan import Plan, Wanted

PACKAGES = ("iputils-ping", "wireguard-tools")
IN_PROGRAM = "wireguard-go"
"""The package that does it where the kernel cannot."""
_HANDSHAKE_SECONDS = (
    40  # a lost one is tried again after 5 s, given up after 90 (wireguard.com/papers/wireguard.pdf, 6.1)
)

# An address is changed by a restart; peers, keys and packet size are not worth one. What is left of a crash goes first.
_SETTLE = f"""\
if [ ! -e {CONFIG} ]; then
    ip link delete dev {INTERFACE} 2>/dev/null
    systemctl -q disable --now {UNIT} 2>/dev/null; systemctl reset-failed {UNIT} 2>/dev/null; exit 0
fi
systemctl -q enable {UNIT} || exit 1
has=$(ip -4 -o address show dev {INTERFACE} 2>/dev/null | tr -s ' ' | cut -d' ' -f4)
wanted=$(sed -n 's/^Address = //p' {CONFIG}) size=$(sed -n 's/^MTU = //p' {CONFIG})
if systemctl -q is-active {UNIT} && [ "$has" = "$wanted" ]; then
    ip link set dev {INTERFACE} mtu $size && wg-quick strip {INTERFACE} | wg syncconf {INTERFACE} /dev/stdin
else
    systemctl -q stop {UNIT}; ip link delete dev {INTERFACE} 2>/dev/null; systemctl reset-failed {UNIT} 2>/dev/null
    systemctl start {UNIT} || {{ journalctl -qu {UNIT} -n 5 -o cat >&2; exit 1; }}
fi
"""


# New keys come one machine at a time, and the mesh must be whole before each: with two machines away at once a quorum
# of three would be lost. The barrier is an operation that all hosts share (deploys/operations/phase.py).
@deploy("wireguard")
def wireguard(plan: Plan) -> None:
    """The interface, its key and its peers."""
    host = this_host()
    packages(name="packages", names=needed(plan.kernel) if plan.steps[0].file.content else ())
    # before the firewall of this run opens it: what comes after it may need the mesh
    if plan.steps[0].file.content:
        admit(name="port in the host firewall", port=plan.port, protocol="udp")
    for step in host.loop(plan.steps):  # type: ignore[no-untyped-call]
        if plan.guarded:
            confirmed(
                name=step.title, name_="wireguard", wanted=(step.file,), settle=_SETTLE, port=None, drift=step.drift
            )
        else:
            files(name=step.title, name_="wireguard", wanted=(step.file,), settle=_SETTLE, drift=step.drift)
        if plan.watched:
            phase(name=f"{step.title}: everywhere")
            wait(
                name=f"{step.title}: every machine answers",
                until=" && ".join(f"ping -n -q -c 1 -W 1 {address}" for address in plan.reached) or "true",
                seconds=_HANDSHAKE_SECONDS,
                for_what="an answer of every other machine over the mesh; next: `make infra` opens the provider's "
                f"firewall for UDP {plan.port}, `wg show` says with whom there was a handshake",
            )
            # only where a machine is to go away next: what keeps a quorum from being there may be mended further on
            if len(plan.steps) > 1:
                wait(
                    name=f"{step.title}: quorum",
                    until=_quorum_checks() if plan.votes else "true",
                    seconds=_HANDSHAKE_SECONDS,
                    for_what="a quorum on every machine",
                )
            phase(name=f"{step.title}: the mesh is whole")
    if plan.steps[0].file.content:
        unit(name="interface", name_=UNIT, state="running")
    if plan.held_back:
        host.log(f"note: new keys wait for a deploy of all machines: {', '.join(plan.held_back)}")


def _quorum_checks() -> str:
    """The shell line that must end with 0 on every machine before the next one gets a new key.

    A capability whose members talk over the mesh has such lines in a tuple `QUORUM_CHECKS` of its own module: while one
    machine is away for a moment, all others must be there.
    """
    return " && ".join(f"{{ {check}; }}" for check in contributions("QUORUM_CHECKS")) or "true"


def wanted_of(here: Here) -> Wanted:
    """Without a mesh in the settings: that there is none."""
    settings = here.settings
    return Wanted(
        here.mesh,
        here.machine,
        here.machines,
        here.keyring,
        administrators=settings.wireguard.administrators if settings.wireguard else {},
        order=tuple(settings.one_at_a_time),
        only_way_in=settings.ssh.open_to == "vpn",
        votes=here.machine.name in settings.etcd_members,
    )


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    ends = [other.address_for(wanted.machine) for other in wanted.others] if wanted.mesh else []
    return merged(
        packages_request((*PACKAGES, IN_PROGRAM)),
        files_request((File(CONFIG, None),)),
        UNITS.request([UNIT]),
        TABLES.request([TABLE]),
        WIREGUARD.request(sorted(set(ends))),
    )


def needed(kernel: bool) -> tuple[str, ...]:
    """The packages, given whether the kernel has WireGuard."""
    return PACKAGES if kernel else (*PACKAGES, IN_PROGRAM)
