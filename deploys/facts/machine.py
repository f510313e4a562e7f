"""One fact that answers all questions in one round trip, and is asked again only after something changed.

pyinfra fetches a fact at every call, in prepare and again in execute, one round trip each. Here every capability says
beforehand what it needs to know (`Question`), all of it is asked at once, and the answer is kept until an operation of
ours changes the machine. A run that changes nothing costs one round trip a machine.
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

Question = dict[str, Any]
"""Areas of `deploys/remote/look.py` with what is asked of each: a list of names, or one value."""
Answer = dict[str, Any]
"""The same areas, answered: by name where a list was asked. `left` is always there."""


@dataclass
class _Known:
    """What is known of a machine, and all that will be asked again when that is forgotten."""

    usual: Question = field(default_factory=dict)
    answers: Answer = field(default_factory=dict)
    asked: Question = field(default_factory=dict)


PARTS = {"look_cluster": {"tables", "etcd", "patroni", "replication", "voters", "databases"}}
"""Areas that stand in scripts of their own beside look.py: they are sent only where they are asked for."""

_known: WeakKeyDictionary[Host, _Known] = WeakKeyDictionary()


class Machine(FactBase[Answer]):
    """The areas of `deploys/remote/look.py` that were asked for; the question itself goes over standard input."""

    def command(self, areas: str) -> str:
        """`areas` only names for the log what is read."""
        return f"{remote.AS_ROOT}; echo '{remote.NO_ROOT}' >&2; exit 1"

    def process(self, output: list[str]) -> Answer:
        """JSON on the last line."""
        answer: Answer = json.loads(output[-1])
        return answer


class FirstLook(Machine):
    """The same, for the first question: answers also when sudo does not make root."""

    def command(self, areas: str) -> str:
        """`areas` only names for the log what is read."""
        return f"{remote.AS_ROOT}; echo '{{\"machine\": null}}'"


def ask_first(host: Host, once: Question, usual: Question) -> Answer:
    """The first question to a machine: what is asked only once, and what operations will ask.

    `machine` is None in the answer when sudo does not make root. Raises `PyinfraError` when there is no answer.
    """
    answer = _fetch(host, FirstLook, once | usual)
    _known[host] = _Known(usual, answer, usual)
    return answer


def ask(host: Host, **question: object) -> Answer:
    """What a machine says to this question: what is known of it, else all is asked anew.

    Raises `PyinfraError` when it gives no answer.
    """
    known = _known.setdefault(host, _Known())
    if "left" not in known.answers or not covers(known.asked, question):
        known.usual = merged(known.usual, question)
        known.answers = _fetch(host, Machine, known.usual)
        known.asked = known.usual
    return known.answers


def forget(host: Host) -> None:
    """Drop what is known of a machine: it is about to change, or just did."""
    if host.state.is_executing and host in _known:
        _known[host].answers = {}


def forget_all(host: Host) -> None:
    """Call it after a change on one machine that others notice by themselves."""
    for other in host.state.inventory.get_active_hosts():
        forget(other)


def unchanged(host: Host) -> bool:
    """Whether no operation of this run has changed the machine since it was last looked at."""
    return "left" in _known.setdefault(host, _Known()).answers


def merged(*questions: Question) -> Question:
    """One question that asks all of these: lists are joined; other values must agree."""
    result: Question = {}
    for question in questions:
        for area, wanted in question.items():
            if isinstance(wanted, list):
                result[area] = sorted({*result.get(area, []), *wanted})
            elif result.setdefault(area, wanted) != wanted:
                raise ValueError(f"two questions to {area} that cannot be asked at once")
    return result


def covers(asked: Question, question: Question) -> bool:
    """Whether the answer to `asked` answers `question` too."""
    return all(
        area in asked and (set(wanted) <= set(asked[area]) if isinstance(wanted, list) else asked[area] == wanted)
        for area, wanted in question.items()
    )


def this_host() -> Host:
    """The host that the code at hand runs for."""
    host: Host = ctx_host.get()  # type: ignore[no-untyped-call]
    return host


def _fetch(host: Host, kind: type[Machine], question: Question) -> Answer:
    parts = [part for part, areas in PARTS.items() if areas & set(question)]
    asked = remote.call("look", "look", question, parts=parts)
    answer: Answer | None = host.get_fact(kind, areas=",".join(sorted(question)), _stdin=asked, _sudo=False)
    if answer is None:
        raise PyinfraError(f"{host.name} cannot be read: is python3 on it, and did the connection hold?")
    return answer
