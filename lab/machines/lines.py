"""The verbs for what is between machines: `block` and `unblock`, `slow` and `unslow`. Idempotent; at once; atomic."""

from __future__ import annotations

import contextlib

from bastide.errors import BastideError, LabError
from lab.machines import delay, private, router, trouble
from lab.machines.store import records
from lab.machines.trouble import EVERYBODY, OPERATOR, Cut, Delay
from lab.place import Place


def block(here: Place, one: str, other: str = EVERYBODY, *, one_way: bool = False) -> None:
    """Let no packet pass from `one` to `other` nor, unless `one_way`, back: silently, on all networks.

    Connections that stand are cut, too. Without `other` the machine is cut off from everything, the lab's own services
    included. Raises `LabError` for a name that the lab does not have.
    """
    _check(here, _ends(here), one, "" if other == EVERYBODY else other)
    wanted = {Cut(one, other)} if one_way else {Cut(one, other), Cut(other, one)}
    with trouble.changing(here):
        _keep(here, [*trouble.cuts(here), *wanted], trouble.delays(here))


def unblock(here: Place, one: str = "", other: str = "") -> None:
    """Take cuts away: those between two, all of one, or all."""
    with trouble.changing(here):
        known = trouble.cuts(here)
        _check(here, [*_ends(here), *(name for cut in known for name in (cut.source, cut.target))], one, other)
        left = [cut for cut in known if not _concerns((cut.source, cut.target), one, other)]
        _keep(here, left, trouble.delays(here))


def slow(here: Place, wanted: Delay) -> None:
    """Delay what two machines send each other, on all networks; a second order for the same two replaces the first.

    Raises `LabError` for a name that is no machine's, and when this host cannot do it; then nothing has changed.
    """
    _check(here, _machines(here), wanted.one, wanted.other)
    pair = {wanted.one, wanted.other}
    with trouble.changing(here):
        others = [known for known in trouble.delays(here) if {known.one, known.other} != pair]
        _keep(here, trouble.cuts(here), [*others, wanted])


def unslow(here: Place, one: str = "", other: str = "") -> None:
    """Take delays away: the one between two, all of one, or all."""
    with trouble.changing(here):
        known = trouble.delays(here)
        _check(here, [*_machines(here), *(name for pair in known for name in (pair.one, pair.other))], one, other)
        left = [pair for pair in known if not _concerns((pair.one, pair.other), one, other)]
        _keep(here, trouble.cuts(here), left)


def _keep(here: Place, cuts: list[Cut], delays: list[Delay]) -> None:
    """Write it down and make it so. When the relay cannot do it, all is as before: else the lab would count as broken
    until somebody takes back what never was."""
    before = trouble.cuts(here), trouble.delays(here)
    trouble.write(here, cuts, delays)
    changed = trouble.delays(here) != before[1]
    if changed and delays:
        try:
            # before the rules, which lead packets there
            delay.restart(here)
        except BaseException:
            trouble.write(here, *before)
            # what went wrong first is what the caller must hear
            with contextlib.suppress(BastideError):
                delay.restart(here)
            raise
    router.load_rules(here)
    for network_id in private.network_ids(here):
        private.reload(here, network_id)
    if changed and not delays:
        delay.restart(here)


def _concerns(pair: tuple[str, str], one: str, other: str) -> bool:
    return {one, other} - {""} <= set(pair)


def _check(here: Place, known: list[str], *names: str) -> None:
    """Raise `LabError` for a name that is not among these, with those that the lab has; and for the same one twice."""
    for name in names:
        if name not in (*known, ""):
            raise LabError(f"the lab '{here.name}' has no '{name}'", f"it has: {', '.join(dict.fromkeys(known))}")
    if names[0] and names[0] == names[-1]:
        raise LabError(f"'{names[0]}' is named twice", "name two")


def _ends(here: Place) -> list[str]:
    return [*_machines(here), *router.service_addresses(here), OPERATOR]


def _machines(here: Place) -> list[str]:
    return [record.spec().name for record in records(here)]
