"""All facts of a machine in one round trip, and again only after something changed.

pyinfra fetches a fact at every call, in prepare and again in execute, one round trip each. Here every capability says
beforehand what it needs to know (`FactRequest`), all of it is asked at once, and the facts are kept until an operation
of ours changes the machine. A run that changes nothing costs one round trip a machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from deploys import remote
from deploys.facts.fact import FactRequest, Facts, covers, merged
from deploys.facts.machine import MACHINE


@dataclass
class _Known:
    """What is known of a machine (`None`: nothing any more), by which request; and what is asked again then."""

    usual: FactRequest = field(default_factory=dict)
    facts: Facts | None = None
    requested: FactRequest = field(default_factory=dict)


_known: WeakKeyDictionary[Host, _Known] = WeakKeyDictionary()


class Collected(FactBase[dict[str, Any]]):
    """The facts that were asked for, by name; the request itself goes over standard input."""

    def command(self, names: str) -> str:
        """`names` only say in the log what is read."""
        return f"{remote.AS_ROOT}; echo '{remote.NO_ROOT}' >&2; exit 1"

    def process(self, output: list[str]) -> dict[str, Any]:
        """JSON on the last line."""
        answers: dict[str, Any] = json.loads(output[-1])
        return answers


class FirstCollected(Collected):
    """The same, for the first request: answers also when sudo does not make root."""

    def command(self, names: str) -> str:
        """`names` only say in the log what is read."""
        return f"{remote.AS_ROOT}; echo '{json.dumps({MACHINE.name: None})}'"


def ask_first(host: Host, once: FactRequest, usual: FactRequest) -> Facts:
    """The first request to a machine: what is asked only once, and what operations will ask.

    `MACHINE` is None when sudo does not make root. Raises `PyinfraError` when there is no answer.
    """
    facts = _fetch(host, FirstCollected, once | usual)
    _known[host] = _Known(usual, facts, usual)
    return facts


def ask(host: Host, *requests: FactRequest) -> Facts:
    """The facts of a machine: what is known of it, else all is asked anew.

    Raises `PyinfraError` when it gives no answer.
    """
    known, request = _known.setdefault(host, _Known()), merged(*requests)
    if known.facts is None or not covers(known.requested, request):
        known.usual = merged(known.usual, request)
        known.facts = _fetch(host, Collected, known.usual)
        known.requested = known.usual
    return known.facts


def forget(host: Host) -> None:
    """Drop what is known of a machine: it is about to change, or just did."""
    if host.state.is_executing and host in _known:
        _known[host].facts = None


def forget_all(host: Host) -> None:
    """Call it after a change on one machine that others notice by themselves."""
    for other in host.state.inventory.get_active_hosts():
        forget(other)


def unchanged(host: Host) -> bool:
    """Whether no operation of this run has changed the machine since it was last asked."""
    return _known.setdefault(host, _Known()).facts is not None


def this_host() -> Host:
    """The host that the code at hand runs for."""
    host: Host = ctx_host.get()  # type: ignore[no-untyped-call]
    return host


def _fetch(host: Host, kind: type[Collected], request: FactRequest) -> Facts:
    by_name = {fact.name: (fact.module, asked) for fact, asked in request.items()}
    script = remote.call(
        "facts.common", "collect", by_name, also=sorted({fact.module for fact in request}), label="facts"
    )
    answers: dict[str, Any] | None = host.get_fact(kind, names=",".join(sorted(by_name)), _stdin=script, _sudo=False)
    if answers is None:
        raise PyinfraError(f"{host.name} cannot be read: is python3 on it, and did the connection hold?")
    return Facts(answers)
