"""What one failure cost, and the watch over it while rows are written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tests.rehearsal.acknowledged import SITES, Told, Writers
from tests.rehearsal.stack import wait_for


@dataclass
class Outage:
    """What one failure cost. `stopped`: seconds in which no row was acknowledged to the client that was watched."""

    what: str
    stopped: float
    healed: float
    acknowledged: int
    unknown: int
    lost: int
    reigns: list[str]
    warned: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line."""
        return " ".join(f"{key}={value}" for key, value in asdict(self).items())


class Watch:
    """One failure at work, watched from one client's machine. Once it is over `outage` is what it cost, and `told`
    what all clients were told.

    `also`: further machines that rows are written on.
    """

    outage: Outage
    told: Told

    def __init__(self, writers: Writers, what: str, machine: str, *also: str) -> None:
        self.writers = writers
        self.what = what
        self.machine = machine
        self.also = also
        self.since = 0.0
        self.notes: dict[str, Any] = {}

    @contextmanager
    def failing(self, **goes_on: float) -> Iterator[None]:
        """The failure is made, and mended, in the block: rows are written all the while, until all is well again.

        `goes_on`: within how many seconds rows are written again after that, by machine; 20 s on the watched one.
        """
        with self.writers.writing(self.machine, *self.also):
            self.begins()
            yield
            healed = self.writers.healed()
            for machine, seconds in (goes_on or {self.machine: 20}).items():
                self.writers.goes_on(machine, seconds=seconds)
        self.judged(healed)

    def begins(self) -> None:
        """From here on a stop is this failure's."""
        self.since = time.monotonic()

    def judged(self, healed: float) -> None:
        """After the writers have ended: what they were told, against what is there."""
        told = self.writers.told()
        self.told = replace(told)
        told.until = max(ack.at for ack in told.of(self.machine))
        self.outage = Outage(
            what=self.what,
            stopped=round(told.stopped(self.machine, self.since), 2),
            healed=round(healed, 1),
            acknowledged=len(told.acks),
            unknown=sum(told.unknown.values()),
            lost=len(self.writers.missing(told)),
            reigns=told.reigns(),
            warned=sum(ack.warned for ack in told.acks),
            notes={**({"reasons": told.reasons} if told.reasons else {}), **self.notes},
        )
        self.writers.clear()


def other(site: str) -> str:
    """The other one of the two sites."""
    return next(one for one in SITES if one != site)


@contextmanager
def without_power(writers: Writers, *machines: str) -> Iterator[None]:
    """Machines lose power, and get it back after the block, however that ends."""
    for machine in machines:
        writers.rehearsal.lab("crash", machine)
    try:
        yield
    finally:
        for machine in machines:
            writers.rehearsal.lab("start", machine)


def lead_etcd(writers: Writers, machine: str) -> None:
    """Bring the leadership of etcd to a machine."""
    script = (
        'id=$(timeout 10 bastide-etcdctl member list | awk -F", " -v n="$1" \'$3 == n { print $1 }\'); '
        "timeout 10 bastide-etcdctl --endpoints=https://$2:2379 move-leader $id"
    )
    # a leadership that is to stay at a site: the site would give it to the witness within seconds
    timer = "start" if machine == "witness" else "stop"
    for site in SITES:
        # one that has just got its power back starts it by itself
        writers.rehearsal.exec(site, f"systemctl {timer} bastide-etcd-lead.timer", check=machine != "witness")

    def there() -> bool:
        leads = writers.etcd_leader()
        if leads and leads != machine:
            words = script.replace('"$1"', machine).replace("$2", writers.settings.mesh[leads])
            # the witness has no password to ask for it itself
            writers.rehearsal.exec(leads if leads in SITES else machine, words, check=False)
        return leads == machine

    wait_for(there, f"{machine} leads etcd")
