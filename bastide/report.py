"""The security page: `build/<stack>/security.html`, made from evidence, settings and inventory alone.

A claim without a fresh green proof on every machine it speaks of is not printed as a claim; it stands apart, with the
reason. The page is public: it shows what was looked at and what was seen, and no detail of a failure, address or
account name. Those are for the console (`summary_lines`) and the evidence file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bastide.capabilities import CAPABILITIES
from bastide.checks import proof_digests
from bastide.controls import CONTROLS, Control, count, facts, join
from bastide.drawing import drawings
from bastide.errors import EvidenceError
from bastide.evidence import Check, Evidence, Row, digest, evidence_path, expires, load
from bastide.files import write_whole
from bastide.machines import Inventory, build_dir, inventory_path, load_inventory
from bastide.settings import Settings
from bastide.signature import signer
from bastide.stackfile import read, stack_path

State = Literal["proven", "failed", "stale", "missing", "not_provable_here"]
_TEMPLATES = Path(__file__).parents[1] / "templates" / "page"
# how far apart the clocks of who proves and who prints may be: a time in the future proves nothing
_CLOCKS = timedelta(minutes=2)
_WORST_FIRST: tuple[State, ...] = ("failed", "missing", "stale", "not_provable_here", "proven")


@dataclass(frozen=True)
class Verdict:
    """What may be said of one control: `state`, `reason` (fit for the page) and `detail` (for the console)."""

    control: Control
    claim: str
    state: State
    rows: tuple[Row, ...]
    reason: str = ""
    detail: str = ""

    @property
    def holds_until(self) -> datetime:
        """When the oldest of its proofs is too old."""
        return min(expires(row, self.control.max_age) for row in self.rows)

    @property
    def proven_at(self) -> datetime:
        """When the oldest of its proofs was made."""
        return min(row.at for row in self.rows)

    @property
    def checks(self) -> list[tuple[str, str, list[tuple[str, Check]]]]:
        """Its checks: sentence, command, and what was seen on each machine."""
        grouped: dict[str, list[tuple[str, Check]]] = {}
        for row in self.rows:
            for check in row.checks:
                grouped.setdefault(check.name, []).append((row.machine, check))
        return [(found[0][1].sentence, found[0][1].command, found) for found in grouped.values()]


@dataclass(frozen=True)
class Report:
    """Everything that the page says."""

    stack: str
    settings: Settings
    inventory: Inventory
    evidence: Evidence
    verdicts: tuple[Verdict, ...]
    signer: str = ""
    sabotage: dict[str, Any] | None = None
    failover: dict[str, Any] | None = None

    @property
    def proven(self) -> list[Verdict]:
        """The claims that may be printed."""
        return [verdict for verdict in self.verdicts if verdict.state == "proven"]

    @property
    def unproven(self) -> list[Verdict]:
        """What may not."""
        return [verdict for verdict in self.verdicts if verdict.state != "proven"]


def write_page(stack: str, root: Path = Path(), *, now: datetime | None = None) -> Path:
    """Write the security page of a stack and return its path.

    `now` (default: the clock) only decides which proofs are too old. Raises `EvidenceError` without evidence, and what
    reading settings and inventory raises.
    """
    path = build_dir(stack, root) / "security.html"
    write_whole(path, render(make_report(stack, root, now=now)))
    return path


def check_page(stack: str, root: Path = Path(), *, now: datetime | None = None) -> list[str]:
    """What can be said of a page that is there, for the console: it is what its evidence says, and who signed that.

    It is made again as of now, and as of the end of the last run, when it was likely made, and compared to the byte;
    nothing is asked of any machine. Raises `EvidenceError` when it is neither.
    """
    path = build_dir(stack, root) / "security.html"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise EvidenceError(f"there is no page at {path}", "write it: `python -m bastide page`") from None
    today = make_report(stack, root, now=now)
    then = make_report(stack, root, now=today.evidence.run.finished)
    is_of_today = text == render(today)
    if not is_of_today and text != render(then):
        raise EvidenceError(
            f"{path} is not what its evidence, stack file and inventory say", "write it anew: `python -m bastide page`"
        )
    lines = [f"{path} is what its evidence says"]
    lines.append(f"the evidence is signed by {today.signer}" if today.signer else "○ the evidence is unsigned")
    if not is_of_today:
        gone = {one.control.id for one in then.proven} - {one.control.id for one in today.proven}
        lines.append(
            f"✗ not proven any more: {join(sorted(gone))}; next: `pytest tests/verify`, then `python -m bastide page`"
        )
    return lines


def summary_lines(stack: str, root: Path = Path(), *, now: datetime | None = None) -> tuple[list[str], int]:
    """What the console says, with the next step, and the exit code.

    The code is 1 when a claim failed, is too old or was never looked at; 0 when all are proven or cannot be proven
    where the stack lives (which is said).
    """
    report = make_report(stack, root, now=now)
    lines = [f"{len(report.proven)} of {count(len(report.verdicts), 'sentence')} proven on {_machines(report)}"]
    for verdict in report.unproven:
        mark = "○" if verdict.state == "not_provable_here" else "✗"
        lines.append(f"{mark} {verdict.control.id} {verdict.control.subject}: {verdict.detail or verdict.reason}")
    open_ = [verdict for verdict in report.unproven if verdict.state != "not_provable_here"]
    if failed := [verdict.control.id for verdict in open_ if verdict.state == "failed"]:
        again = " ".join(f"--control {word}" for word in failed[:3]) if len(failed) <= 3 else ""
        lines.append(f" next: mend it (`make deploy`), then `pytest tests/verify {again}`".rstrip(" `") + "`")
    elif open_:
        lines.append(" next: run `pytest tests/verify`, then `python -m bastide page`")
    return lines, 1 if open_ else 0


def make_report(stack: str, root: Path = Path(), *, now: datetime | None = None) -> Report:
    """Read all that the page is made of and judge it."""
    settings = read(stack_path(stack, root))
    inventory = load_inventory(inventory_path(stack, root))
    path = evidence_path(stack, root)
    evidence = load(path)
    if evidence.run.stack != stack:
        raise EvidenceError(f"{path} is evidence of the stack {evidence.run.stack}", "run `pytest tests/verify`")
    at = now or datetime.now(UTC)
    values = facts(settings, inventory)
    spoken_of = [one for one in CONTROLS if one.needs(settings)]
    verdicts = tuple(judge(one, values, settings, inventory, evidence, at) for one in spoken_of)
    figures = _sabotage(root, settings), _failover(root, settings)
    return Report(stack, settings, inventory, evidence, verdicts, signer(path, settings), *figures)


def judge(
    control: Control,
    values: dict[str, str],
    settings: Settings,
    inventory: Inventory,
    evidence: Evidence,
    now: datetime,
) -> Verdict:
    """Whether a control is proven on every machine it speaks of: the worst machine decides."""
    rows: list[Row] = []
    found: list[tuple[State, str, str, str]] = []
    for machine in control.machines(inventory, settings):
        row = evidence.row(control.id, machine.name)
        if row is None or row.machine_id != machine.id:
            since = "the server was replaced since" if row else "it was not looked at yet"
            found.append(("missing", machine.name, since, since))
            continue
        rows.append(row)
        if row.outcome == "failed":
            broken = [check.sentence.rstrip(".") for check in row.checks if check.outcome == "failed"]
            found.append(("failed", machine.name, f"this did not hold: “{join(broken)}”", row.detail))
        elif row.outcome == "not_provable_here":
            found.append(("not_provable_here", machine.name, row.detail, row.detail))
        elif row.settings != digest(settings) or row.environment != inventory.environment:
            stale = "the stack file was changed since it was proven"
            found.append(("stale", machine.name, stale, stale))
        elif row.proof != proof_digests()[control.id]:
            stale = "its sentence or its checks were changed since it was proven"
            found.append(("stale", machine.name, stale, stale))
        elif row.at > now + _CLOCKS:
            stale = f"its proof says that it was made later than now, on {row.at:%d %b %Y}"
            found.append(("stale", machine.name, stale, stale))
        elif expires(row, control.max_age) < now:
            stale = f"its last proof, of {row.at:%d %b %Y}, is older than {count(control.max_age.days, 'day')}"
            found.append(("stale", machine.name, stale, stale))
    if not found:
        state: State = "proven" if rows else "missing"
        return Verdict(control, control.claim(values), state, tuple(rows), "" if rows else "no server has this role")
    state = min((item[0] for item in found), key=_WORST_FIRST.index)
    worst = [item for item in found if item[0] == state]
    return Verdict(
        control,
        control.claim(values),
        state,
        tuple(rows),
        reason=_on(worst, 2),
        detail=_on(worst, 3),
    )


def render(report: Report) -> str:
    """The page as HTML: one file, no script, nothing loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = lambda at: f"{at:%-d %B %Y}"
    environment.filters["minute"] = lambda at: f"{at:%-d %b %Y, %H:%M} UTC"
    environment.filters["date"] = lambda at: f"{at:%-d %b %Y}"
    environment.filters["hour"] = lambda at: f"{at:%H:%M} UTC"
    environment.filters["clock"] = lambda at: f"{at:%H:%M:%S} UTC"
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    groups = [
        (one.word, one.heading, [verdict for verdict in report.proven if verdict.control.capability == one.word])
        for one in CAPABILITIES
    ]
    proven = {verdict.control.id for verdict in report.proven}
    return environment.get_template("security.html.j2").render(
        report=report,
        company=report.settings.company,
        run=report.evidence.run,
        lab=report.inventory.environment == "lab",
        groups=[group for group in groups if group[2]],
        machines=_machines(report),
        until=min((verdict.holds_until for verdict in report.proven), default=None),
        drawings=drawings(report.settings, report.inventory, proven),
        style=style,
        # the one style element is named by its hash (CSP Level 3, 2.3.1), so nothing else can style or run
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _machines(report: Report) -> str:
    return count(len(report.inventory.machines), "server")


def _on(found: Iterable[tuple[State, str, str, str]], part: int) -> str:
    """`on primary and standby: the reason`, a reason once."""
    reasons: dict[str, list[str]] = {}
    for item in found:
        reasons.setdefault(item[part], []).append(item[1])
    return "; ".join(f"on {join(names)}: {reason}" for reason, names in reasons.items())


def _sabotage(root: Path, settings: Settings) -> dict[str, Any] | None:
    """The rehearsal's own figure, when there is one: how many deliberate mistakes the checks caught."""
    path = build_dir("rehearsal", root) / "sabotage.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        figure = {"caught": int(found["caught"]), "total": int(found["total"])} | _when(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**figure, "signer": signer(path, settings)}


def _failover(root: Path, settings: Settings) -> dict[str, Any] | None:
    """The rehearsal's other figure, when there is one: for how long writes stopped when the leader lost power."""
    path = build_dir("rehearsal", root) / "failover.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        counted = {name: int(found[name]) for name in ("runs", "lost", "acknowledged")}
        figure = {**counted, "seconds": math.ceil(found["seconds"]["max"])} | _when(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**figure, "signer": signer(path, settings)}


def _when(found: dict[str, Any]) -> dict[str, Any]:
    return {"commit": str(found["commit"]), "at": datetime.fromisoformat(found["at"])}
