"""Lynis' report: lines of `key=value`, lists as `key[]=`, with bars between an entry's parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bastide.errors import BastideError
from bastide.layout.kernel import per_machine

CONTAINER = "machine_container"
"""A line of ours behind the report: systemd-detect-virt(1) knows more containers than Lynis."""
_SYSCTLS = "KRNL-6000"


@dataclass(frozen=True)
class Suggestion:
    """What Lynis would change. `finding`: its test, and for a test that looks at many things which one
    ("SSH-7408:Port")."""

    finding: str
    text: str


@dataclass(frozen=True)
class Lynis:
    """A report: the index (of 100), and what it would change. `hosts`: findings that a container's host answers for."""

    version: str
    index: int
    suggestions: tuple[Suggestion, ...]
    hosts: tuple[str, ...] = ()


def lynis_from(text: str) -> Lynis:
    """Read a report. Raises `BastideError` when it is none, or not to its end."""
    single: dict[str, str] = {}
    lists: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.endswith("[]"):
            lists[key[:-2]].append(value.split("|"))
        elif equals:
            single[key] = value
    if not single.get("hardening_index", "").isdigit():
        raise BastideError("Lynis' report has no index: it ended early", "run the same command again")
    container = single.get(CONTAINER, "none") != "none"
    found, hosts = list[Suggestion](), list[str]()
    for one in _suggestions(lists):
        test, _, field = one.finding.partition(":")
        if container and test == _SYSCTLS and field and not per_machine(field):
            hosts.append(one.finding)
        else:
            found.append(one)
    return Lynis(
        single.get("lynis_version", ""), int(single["hardening_index"]), tuple(dict.fromkeys(found)), tuple(hosts)
    )


def _suggestions(lists: dict[str, list[list[str]]]) -> Iterator[Suggestion]:
    """Each once: where a test gives details of what it looked at, these, and not that there are some."""
    detailed = {test for test, *_ in lists["details"]}
    for test, _, words, *_ in lists["details"]:
        fields = dict(part.partition(":")[::2] for part in words.split(";") if part)
        wanted = fields.get("prefval", "")
        yield Suggestion(
            f"{test}:{fields.get('field', '?')}",
            f"{fields.get('desc', 'something')} is {fields.get('value', '?')}" + (f", not {wanted}" if wanted else ""),
        )
    for test, said, details, *_ in (*lists["warning"], *lists["suggestion"]):
        if test not in detailed:
            yield Suggestion(test, said + (f" ({details})" if details.strip("-") else ""))
