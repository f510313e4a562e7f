"""A fact: what a machine can be asked. A request: facts with what is asked of each. Facts: what it answered.

A fact is a function that runs on the machine (deploys/remote/facts/<noun>.py). It stands by its name in the module of
the same noun here, beside the types of what is asked and answered; mypy takes both from the function's signature:

    UNITS = Fact(on_machine.units)
    facts = ask(host, UNITS.request(["ssh.service"]))
    facts[UNITS]["ssh.service"]["ActiveState"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Fact(Generic[_Asked, _Answer]):
    """What a function that runs on the machine answers when it is asked."""

    function: Callable[[_Asked], _Answer]

    @property
    def name(self) -> str:
        """No two facts share one."""
        return self.function.__name__

    @property
    def module(self) -> str:
        """The script that is sent for it."""
        return self.function.__module__

    def request(self, asked: _Asked) -> FactRequest:
        """Ask this of a machine. A list can be joined with what others ask."""
        return {self: asked}

    def __repr__(self) -> str:
        return self.name


FactRequest = dict[Fact[Any, Any], Any]
"""What is asked of each fact; made by `Fact.request` and `merged` alone, so that it has the fact's type."""


class Facts:
    """What a machine answered. Raises `KeyError` for a fact that was not requested."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    def __getitem__(self, fact: Fact[_Asked, _Answer]) -> _Answer:
        return cast("_Answer", self._answers[fact.name])

    def __contains__(self, fact: Fact[Any, Any]) -> bool:
        return fact.name in self._answers

    def get(self, fact: Fact[_Asked, _Answer]) -> _Answer | None:
        """The answer; `None` for a fact that was not requested."""
        return cast("_Answer | None", self._answers.get(fact.name))


def merged(*requests: FactRequest) -> FactRequest:
    """One request of all of these: lists are joined; other values must agree."""
    result: FactRequest = {}
    for request in requests:
        for fact, asked in request.items():
            if isinstance(asked, list):
                result[fact] = sorted({*result.get(fact, []), *asked})
            elif result.setdefault(fact, asked) != asked:
                raise ValueError(f"two requests of {fact} that cannot be asked at once")
    return result


def covers(requested: FactRequest, request: FactRequest) -> bool:
    """Whether the answer to `requested` answers `request` too."""
    return all(
        fact in requested
        and (set(asked) <= set(requested[fact]) if isinstance(asked, list) else requested[fact] == asked)
        for fact, asked in request.items()
    )
