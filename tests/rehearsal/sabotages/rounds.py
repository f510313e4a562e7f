"""Which sabotages are done together: as few rounds as a simple rule gives, and always the same ones."""

from __future__ import annotations

from collections.abc import Iterable

from tests.rehearsal.sabotages.model import Sabotage

Round = tuple[Sabotage, ...]


def rounds(sabotages: Iterable[Sabotage]) -> tuple[Round, ...]:
    """Each sabotage in the first round that has room for it, on the first of its machines that has.

    No two of a round are judged by the same row of evidence or touch the same; one that is alone has its own round.
    """
    alone: list[Round] = []
    shared: list[list[Sabotage]] = []
    taken: list[set[tuple[str, str]]] = []
    for sabotage in sabotages:
        if sabotage.alone:
            alone.append((sabotage.on(sabotage.machine),))
            continue
        places = ((n, sabotage.on(machine)) for n in range(len(shared)) for machine in sabotage.machines)
        found = next(((n, placed) for n, placed in places if not uses(placed) & taken[n]), None)
        if found is None:
            found = len(shared), sabotage.on(sabotage.machine)
            shared.append([])
            taken.append(set())
        shared[found[0]].append(found[1])
        taken[found[0]] |= uses(found[1])
    return (*map(tuple, shared), *alone)


def uses(sabotage: Sabotage) -> set[tuple[str, str]]:
    """What nobody else in the round may use, by machine ("": on all of them)."""
    own = {(sabotage.machine, f"row {sabotage.control}"), *((sabotage.machine, word) for word in sabotage.touches)}
    return own | {("", word) for word in sabotage.everywhere}
