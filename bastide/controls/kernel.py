"""What the kernel refuses."""

from __future__ import annotations

from bastide.controls.model import WEEK, Control, count, join
from bastide.layout.kernel import MODULES, NO_PROGRAMS, per_machine, wanted_sysctls
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "kernel-01",
        "Network settings of the kernel",
        "Each server's kernel has {network_values} for its network on every interface, now and after a reboot"
        "{network_own}.",
        "By the platform's table no redirect and no source route is followed, nothing is passed on from one network to "
        "another, and packets that pretend to come from elsewhere are dropped.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "kernel-02",
        "Other settings of the kernel",
        "Each server's kernel has {other_values} on what programs may see and do, now and after a reboot{other_own}.",
        "By the platform's table accounts without rights read neither the kernel's log nor its addresses, load no bpf "
        "programs and trace no processes but their own children: a program that was broken into finds less to use.",
        max_age=WEEK,
        claims=(37, 116),
    ),
    Control(
        "kernel-03",
        "Kernel modules",
        "No server loads {modules} kernel modules of protocols, file systems and devices that it does not use, "
        "whoever asks for them.",
        "Code that is seldom used is seldom looked at, and a socket or a mount is enough to have it loaded.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "kernel-04",
        "Memory of crashed processes",
        "A process of somebody who logs in leaves no core dump when it crashes, and systemd's own collector, where "
        "it is installed, keeps none.",
        "Such a file holds what the process knew: passwords, keys, customers' data.",
        max_age=WEEK,
        claims=(116,),
    ),
    Control(
        "kernel-05",
        "Folders that everybody may write to",
        "No program runs from {folders} on any server, now and after a reboot.",
        "What somebody brings along as a file has to lie somewhere before it can run.",
        max_age=WEEK,
        claims=(116,),
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    names = wanted_sysctls(settings)
    network = sum(map(per_machine, names))
    return {
        "network_values": count(network, "declared value"),
        "network_own": _own(settings, of_machine=True),
        "other_values": count(len(names) - network, "declared value"),
        "other_own": _own(settings, of_machine=False),
        "modules": str(len(MODULES)),
        "folders": " or ".join(NO_PROGRAMS),
    }


def _own(settings: Settings, *, of_machine: bool) -> str:
    """Those that the stack file gives: what is said of the table does not hold for them."""
    own = [f"{name} = {value}" for name, value in settings.kernel.sysctl.items() if per_machine(name) == of_machine]
    return f"; not by the platform's table: {join(own)}" if own else ""
