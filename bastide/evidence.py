"""What was seen on the machines, as data: `build/<stack>/evidence.json`.

One row a control and machine. Rows are made of chosen facts (a sentence, a command, what it showed), never of whole
outputs, so that a secret has no way in. docs/reference/evidence.schema.json is generated from these models:
`python -m bastide.evidence > docs/reference/evidence.schema.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bastide.errors import EvidenceError
from bastide.files import write_whole
from bastide.machines import build_dir
from bastide.settings import Settings

SCHEMA_VERSION: Literal[1] = 1
Outcome = Literal["proven", "failed", "not_provable_here"]
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "not_provable_here", "proven")
_AGAIN = "run `pytest tests/verify`"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Check(_Part):
    """One look at one machine, and what was seen."""

    name: str
    """The test's name, as pytest knows it, without the machine."""
    sentence: str
    """What the check says when it holds."""
    command: str
    """How it was looked at: a command a person could repeat. Holds no secret."""
    seen: str
    """What was seen, in a few words."""
    outcome: Outcome
    """proven, failed, or not_provable_here."""
    detail: str
    """Why it is not proven; empty when it is."""
    at: AwareDatetime
    """When it was looked at (UTC)."""
    seconds: Annotated[float, Field(ge=0)]
    """How long the look took. Looks run side by side, so these do not add up to the run."""


class Row(_Part):
    """One control on one machine: proven only when every check of it is."""

    control: str
    """Id of the control in bastide/controls/."""
    machine: str
    """Name of the machine."""
    machine_id: str
    """The provider's id of it: a replaced machine has another, and nothing is proven of it."""
    outcome: Outcome
    """The worst outcome of its checks."""
    prober: bool
    """Whether it was seen from a host outside of the platform."""
    environment: Literal["lab", "cloud"]
    """Where it was seen: the local cloud, or the real one."""
    commit: str
    """The project's commit; "+" at its end means with changes that were not committed; "" means none."""
    settings: str
    """Digest of the settings that it was judged by (see `digest`)."""
    proof: str = ""
    """Digest of the control's sentence and of the texts of its checks (bastide/checks.py); "" by an earlier release."""
    at: AwareDatetime
    """When the oldest of its checks was made (UTC)."""
    seconds: Annotated[float, Field(ge=0)]
    """How long its slowest look took."""
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]
    """The checks, in the order of the test file."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.outcome != worst(check.outcome for check in self.checks):
            raise ValueError("outcome must be the worst of the checks'")
        if self.at != min(check.at for check in self.checks):
            raise ValueError("at must be the oldest of the checks'")
        return self

    @property
    def detail(self) -> str:
        """Why it is not proven; empty when it is."""
        reasons = [check.detail for check in self.checks if check.outcome == self.outcome and check.detail]
        return "; ".join(dict.fromkeys(reasons))


class RunMachine(_Part):
    """A machine as it was when it was looked at."""

    name: str
    """Its name."""
    role: str
    """Its role."""
    location: str
    """The provider's location."""
    id: str
    """The provider's id."""


class Run(_Part):
    """The last run of the checks. Rows of earlier runs, kept because this one left them out, have their own times."""

    stack: str
    """Name of the stack."""
    environment: Literal["lab", "cloud"]
    """Where the stack lives: the local cloud, or the real one."""
    commit: str
    """As in the rows."""
    started: AwareDatetime
    """When it began (UTC)."""
    finished: AwareDatetime
    """When it ended (UTC)."""
    complete: bool
    """Whether it ran every check of every control on every machine."""
    tools: dict[str, str]
    """Versions of what looked."""
    machines: tuple[RunMachine, ...]
    """The machines of the stack."""


class Evidence(_Part):
    """The whole file."""

    version: Literal[1] = SCHEMA_VERSION
    """Version of this schema."""
    run: Run
    """The last run."""
    rows: tuple[Row, ...]
    """All rows, ordered by control and machine."""

    def row(self, control: str, machine: str) -> Row | None:
        """The row of a control on a machine, or None when it was never looked at."""
        return next((row for row in self.rows if row.control == control and row.machine == machine), None)


def evidence_path(stack: str, root: Path = Path()) -> Path:
    """Where the evidence of a stack lies."""
    return build_dir(stack, root) / "evidence.json"


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies (bastide/signature.py)."""
    return path.with_name(f"{path.name}.sig")


def load(path: Path) -> Evidence:
    """Read evidence. Raises `EvidenceError` when it is missing, damaged, or of another version."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvidenceError(f"{path} does not exist: nothing has been proven yet", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise EvidenceError(f"{path} cannot be read as JSON ({type(error).__name__})", f"{_AGAIN} again") from None
    version = data.get("version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise EvidenceError(
            f"{path} has schema version {version}, this Bastide knows {SCHEMA_VERSION}", f"{_AGAIN} again"
        )
    try:
        return Evidence.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(f"{path} does not fit its schema: {place}: {first['msg']}", f"{_AGAIN} again") from None


def save(evidence: Evidence, path: Path) -> None:
    """Write evidence, whole or not at all. It is unsigned then: an old signature would be none of it."""
    write_unsigned(path, evidence.model_dump_json(indent=1) + "\n")


def write_unsigned(path: Path, text: str) -> None:
    """Write what may be signed afterwards: a signature of what stood there before goes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signature_path(path).unlink(missing_ok=True)
    write_whole(path, text)


def make_row(
    *, control: str, machine: str, machine_id: str, prober: bool, environment: Literal["lab", "cloud"], commit: str,
    settings: str, proof: str, checks: Collection[Check],
) -> Row:  # fmt: skip
    """A row from its checks (at least one)."""
    return Row(
        control=control,
        machine=machine,
        machine_id=machine_id,
        outcome=worst(check.outcome for check in checks),
        prober=prober,
        environment=environment,
        commit=commit,
        settings=settings,
        proof=proof,
        at=min(check.at for check in checks),
        seconds=max(check.seconds for check in checks),
        checks=tuple(checks),
    )


def merge(old: Evidence | None, run: Run, rows: Collection[Row], partial: Collection[tuple[str, str]] = ()) -> Evidence:
    """Join a run with what was known before it.

    A row of this run replaces the old one. `partial` names (control, machine) of which only some checks ran: such a row
    counts when it failed, else the old one stays, for half a check proves nothing. Rows that this run left out stay
    with their own times, unless their machine is gone or was replaced. A complete run keeps nothing.
    """
    kept = {(row.control, row.machine): row for row in old.rows} if old and not run.complete else {}
    alive = {(machine.name, machine.id) for machine in run.machines}
    kept = {key: row for key, row in kept.items() if (row.machine, row.machine_id) in alive}
    for row in rows:
        key = (row.control, row.machine)
        if key not in partial or row.outcome == "failed":
            kept[key] = row
    return Evidence(run=run, rows=tuple(kept[key] for key in sorted(kept)))


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of several: one failure fails all, one that cannot be proven leaves all unproven."""
    return min(outcomes, key=_WORST_FIRST.index)


def digest(settings: Settings) -> str:
    """A short name for these very settings: a proof under other ones is no proof."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


def expires(row: Row, max_age: timedelta) -> AwareDatetime:
    """When a row is too old to be printed."""
    return row.at + max_age


def schema() -> dict[str, Any]:
    """The JSON schema of the file."""
    return Evidence.model_json_schema()


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
