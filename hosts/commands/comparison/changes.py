"""What a plan or a drift report says: the differences, as text for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

SCHEMA_VERSION = 1
NOTHING, FAILED, SOMETHING = 0, 1, 2
Kind = Literal["plan", "drift"]

_MARKS = {"create": "+", "delete": "-", "update": "~"}
_SECRET = "secret content differs"  # noqa: S105 - a sentence


@dataclass(frozen=True)
class ResourceChange:
    """What `pulumi up` would do to one thing at the provider. `diff` is of its inputs; secrets are masked in it."""

    op: str
    kind: str
    name: str
    diff: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"  {_MARKS.get(self.op, '!')} {self.op} {self.kind} {self.name}"
        yield from (f"      {line}" for line in self.diff)


@dataclass(frozen=True)
class FileChange:
    """What a deploy would do to one file: `note` on rights or presence, `diff` of its text; none for a secret."""

    path: str
    secret: bool
    note: str
    diff: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """For people."""
        notes = [note for note in (_SECRET if self.secret else "", self.note) if note]
        yield f"      {self.path}" + (f" ({', '.join(notes)})" if notes else "")
        yield from (f"        {line}" for line in self.diff)


@dataclass(frozen=True)
class MachineChange:
    """What a deploy would do to one machine.

    `state` is `compared`, `new` (never reached; a deploy would enrol it and do everything), `off` (or gone, at the
    provider), `silent` (it gave no way in; `note` says why). Only a compared machine has operations and files.
    """

    name: str
    state: Literal["compared", "new", "off", "silent"]
    note: str = ""
    operations: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()
    said: tuple[str, ...] = ()
    """What the deploy would say of it: who or what is there undeclared."""

    @property
    def differs(self) -> bool:
        """Whether a deploy would do something, as far as that is known."""
        return self.state in ("new", "off") or bool(self.operations)

    def lines(self, names: str) -> Iterator[str]:
        """For people. `names` are those of all machines that this holds for."""
        if self.state == "compared" and not self.operations:
            yield f"  {names}: nothing"
            return
        yield f"  {names}:" + (f" {self.note}" if self.note else "")
        yield from (f"    {operation}" for operation in self.operations)
        yield from (f"      ! {sentence}" for sentence in self.said)
        for file in self.files:
            yield from file.lines()


@dataclass(frozen=True)
class Changes:
    """A whole report."""

    stack: str
    kind: Kind
    resources: tuple[ResourceChange, ...]
    machines: tuple[MachineChange, ...]

    @property
    def count(self) -> int:
        """How many things differ: resources, operations on machines, machines that are new or off."""
        return len(self.resources) + sum(
            max(len(machine.operations), 1) for machine in self.machines if self._differs(machine)
        )

    @property
    def code(self) -> int:
        """0 nothing differs, 2 something does, 1 not everything could be compared.

        For a plan a silent machine is an error; for a drift report it is what was looked for.
        """
        if self.kind == "plan" and any(machine.state == "silent" for machine in self.machines):
            return FAILED
        return SOMETHING if self.count else NOTHING

    def to_json(self) -> dict[str, Any]:
        """For scripts; docs/reference/exit-codes.md describes it."""
        return {"version": SCHEMA_VERSION, **asdict(self), "count": self.count, "code": self.code}

    def lines(self) -> Iterator[str]:
        """For people. The last line says it all."""
        yield f"at the provider: {len(self.resources) or 'nothing'}"
        for resource in self.resources:
            yield from resource.lines()
        yield "on the machines:"
        for names, machine in self._alike():
            yield from machine.lines(", ".join(names))
        yield ""
        yield self._summary()

    def _alike(self) -> list[tuple[list[str], MachineChange]]:
        """Machines of which the same is to be said, together."""
        groups: list[tuple[list[str], MachineChange]] = []
        for machine in self.machines:
            for names, first in groups:
                if replace(machine, name=first.name) == first:
                    names.append(machine.name)
                    break
            else:
                groups.append(([machine.name], machine))
        return groups

    def _differs(self, machine: MachineChange) -> bool:
        return machine.differs or (self.kind == "drift" and machine.state == "silent")

    def _summary(self) -> str:
        new = [machine.name for machine in self.machines if machine.state == "new"]
        silent = [machine.name for machine in self.machines if machine.state == "silent"]
        if self.code == FAILED:
            return f"{self.kind}: not complete, {', '.join(silent)} could not be looked at; next: see why above"
        if not self.count:
            return f"{self.kind}: nothing differs"
        # `pulumi up` by itself asks the provider nothing: only a refresh shows it what somebody changed there
        resized = [resource.name for resource in self.resources if resource.op == "resize"]
        others = len(self.resources) > len(resized)
        steps = ["`pulumi up --refresh`" if self.kind == "drift" else "`make infra`"] if others else []
        # one at a time, each with a shutdown: said here, before anything is begun
        steps += [f"`make resize machine={name}`" for name in resized]
        steps += ["`make infra`"] if any(m.state == "off" for m in self.machines) else []
        steps += ["`make deploy`"] if new or any(machine.operations for machine in self.machines) else []
        enrolled = f"; not reached yet: {len(new)} machines would be enrolled" if new else ""
        return f"{self.kind}: {self.count} differ{enrolled}; next: {' and '.join(steps) or 'see why above'}"
