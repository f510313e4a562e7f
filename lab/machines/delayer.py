"""`python -m lab.machines.delayer LAB SLOT`: holds packets between two machines back, and loses some.

What netem(8) does where the kernel has it; this works where it has not. A delayed way is a TUN device in the network's
namespace: rules mark its packets, a routing rule leads them into the device, this process reads them there and writes
them back when they are due. Each way has a device of its own, so nothing is read out of a packet.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bastide.console import run
from lab.machines import delay, links, trouble
from lab.machines.trouble import DEVICES, FIRST_MARK, Delay
from lab.place import Place, lab_id

# linux/if_tun.h: _IOW('T', 202, int), and the flags of a layer 3 device without a header of its own
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
# RFC 7600: the address of a host that has none
_DUMMY = "192.0.0.8"
# packets held on one way at most; what comes on top is lost, as in a router's queue (netem's default is 1000)
_HELD = 20_000
# what a limited line's queue holds at most, in seconds
_BACKLOG_SECONDS = 0.1
_PACKETS_AT_ONCE = 64


@dataclass
class Line:
    """One delayed way: its device and what happens on it. `free` is when the last packet will have been sent."""

    device: int
    trouble: Delay
    held: int = 0
    free: float = 0.0

    def due(self, now: float, size: int) -> float | None:
        """When a packet of `size` bytes that came `now` goes on; None when it is lost."""
        if self.held >= _HELD or (self.trouble.loss and random.random() < self.trouble.loss):  # noqa: S311
            return None
        if not self.trouble.rate:
            return now + self.trouble.seconds
        start = max(now, self.free)
        if start - now > _BACKLOG_SECONDS:
            return None
        self.free = start + size * 8 / self.trouble.rate
        return self.free + self.trouble.seconds


def main(name: str, slot: str) -> int:
    """Lay all ways and serve them until killed."""
    here = Place(name, lab_id(name), int(slot))
    lines = []
    for netns in links.netns_names():
        if netns == here.router or netns.startswith(f"{here.router}-n"):
            lines += lay(netns, trouble.delays(here), six=netns == here.router)
    with contextlib.suppress(OSError):
        # a packet that is late because something else ran would be a wrong delay
        os.nice(-10)
    delay.ready_file(here).touch()
    relay(lines)
    return 0


def lay(netns: str, delays: Sequence[Delay], *, six: bool) -> list[Line]:
    """Make the devices of a network and the routes into them. `six` says whether it has IPv6."""
    found = []
    for number in range(2 * len(delays)):
        name = f"{DEVICES}{number}"
        device = links.inside(netns, lambda name=name: _open(name))  # type: ignore[misc]
        found.append(Line(device, delays[number // 2]))
    ways = {FIRST_MARK + number: f"{DEVICES}{number}" for number in range(2 * len(delays))}
    for family in ("-4", "-6") if six else ("-4",):
        ip = ["ip", "-n", netns, family]
        # left by the relay before this one, and perhaps not there
        run([*ip, "-force", "-batch", "-"], input="".join(f"rule delete pref {n}\n" for n in ways), check=False)
        words = []
        for number, name in ways.items():
            words += [
                # packets only, no neighbours of its own
                f"link set {name} addrgenmode none",
                f"link set {name} txqueuelen 10000 up",
                # on a device without an address the kernel takes a loose source check for a strict one
                *([f"address replace {_DUMMY}/32 dev {name}"] if family == "-4" else []),
                f"route replace default dev {name} table {number}",
                # without this process its ways are dead, not fast: that would be a fault that nobody sees is gone
                f"route replace blackhole default metric 4096 table {number}",
                f"rule add fwmark {number} pref {number} lookup {number}",
            ]
        run([*ip, "-batch", "-"], input="\n".join(words) + "\n")
    # what comes back has the addresses of machines behind other ports: loose, where the network is strict
    settings = [f"net.ipv4.conf.{name}.rp_filter=2" for name in ways.values()]
    run(["nsenter", f"--net={links.NETNS / netns}", "sysctl", "-q", "-w", *settings])
    return found


def relay(lines: Sequence[Line]) -> None:
    """Pass packets on when they are due, for ever."""
    by_device = {line.device: line for line in lines}
    held: list[tuple[float, int, Line, bytes]] = []
    order = 0
    while True:
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, _, line, packet = heapq.heappop(held)
            line.held -= 1
            with contextlib.suppress(OSError):  # the device is down: as if the line were
                os.write(line.device, packet)
        # select, since the timeouts of poll and epoll are whole milliseconds
        ready, _, _ = select.select(by_device, [], [], max(0.0, held[0][0] - now) if held else None)
        for device in ready:
            line, now = by_device[device], time.monotonic()
            for _ in range(_PACKETS_AT_ONCE):
                try:
                    packet = os.read(device, 65536)
                except OSError:
                    break
                due = line.due(now, len(packet))
                if due is not None:
                    order += 1
                    line.held += 1
                    heapq.heappush(held, (due, order, line, packet))


def _open(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(*sys.argv[1:3]))
