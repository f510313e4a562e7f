"""What was found against what is wanted: a line for each, with the next step where something is neither well nor
excused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bastide.findings import Finding
from bastide.layout.sandbox import DEBIANS_WITHOUT, WITHOUT, sandboxes
from bastide.lynis import GOAL, STOCK, excused
from bastide.settings import Settings
from hosts.commands.auditing.ask import Audit

_REASONS = "docs/reference/auditors.md"
_MEND = "mend it, or give the reason in bastide/lynis.py (docs/how-to/audit.md)"


def lines(found: Audit, settings: Settings) -> Iterator[Finding]:
    """All that there is to say of a machine."""
    yield from _lynis_lines(found)
    yield from _exposure_lines(found, settings)
    for line in found.changed:
        yield Finding(
            "missing",
            f"{found.name}: {line}",
            f"`ssh {found.name} dpkg -S FILE` names its package; install that one again, or find out who changed it",
        )
    if not found.changed:
        yield Finding("ok", f"{found.name}: debsums: every installed file is as in its package")


def as_json(found: Audit, settings: Settings) -> dict[str, Any]:
    """The same for programs."""
    return {
        "name": found.name,
        "lynis": {
            "version": found.lynis.version,
            "index": found.lynis.index,
            "goal": GOAL,
            "stock": STOCK.lynis,
            "suggestions": [
                {"finding": one.finding, "text": one.text, "excused": excused(one.finding)}
                for one in found.lynis.suggestions
            ],
            "of_its_host": list(found.lynis.hosts),
        },
        "exposure": [
            {"unit": unit, "score": score, "limit": limits(found.name, settings).get(unit), "stock": stock(unit)}
            for unit, score in sorted(found.exposure.items())
        ],
        "changed": list(found.changed),
    }


def limits(name: str, settings: Settings) -> dict[str, float]:
    """How exposed each of a machine's services may be, by unit (of 10)."""
    return {one.unit: one.exposure for one in sandboxes(settings, name)}


def stock(unit: str) -> float | None:
    """How exposed it is in stock Debian; `None` where nobody has looked."""
    return STOCK.exposure.get(unit)


def _lynis_lines(found: Audit) -> Iterator[Finding]:
    name, report = found.name, found.lynis
    below = report.index < GOAL
    yield Finding(
        "missing" if below else "ok",
        f"{name}: Lynis {report.version}: {report.index} of 100 (stock {STOCK.lynis}, goal {GOAL})",
        f"the lines below, and {_REASONS}" if below else "",
    )
    open_ = [one for one in report.suggestions if not excused(one.finding)]
    for one in open_:
        yield Finding("missing", f"{name}: Lynis {one.finding}: {one.text}", _MEND)
    known = len(report.suggestions) - len(open_)
    told = f", and {len(report.hosts)} values of its host's kernel" if report.hosts else ""
    yield Finding("note", f"{name}: Lynis: {known} suggestions with a reason in {_REASONS}{told}")


def _exposure_lines(found: Audit, settings: Settings) -> Iterator[Finding]:
    name, may = found.name, limits(found.name, settings)
    for unit, limit in may.items():
        score = found.exposure.get(unit)
        if score is None:
            yield Finding("note", f"{name}: systemd has not loaded {unit}, and does not count it")
            continue
        was = f"stock {stock(unit)}, " if stock(unit) else ""
        more = score > limit
        yield Finding(
            "missing" if more else "ok",
            f"{name}: {unit} is exposed by {score} of 10 ({was}at most {limit})",
            f"`ssh {name} systemd-analyze security {unit}` names what it may" if more else "",
        )
    reasons = {**WITHOUT, **DEBIANS_WITHOUT}
    for unit, reason in reasons.items():
        if unit in found.exposure:
            yield Finding("note", f"{name}: {unit} is exposed by {found.exposure[unit]} of 10: {reason}")
    others = {unit: score for unit, score in found.exposure.items() if unit not in may and unit not in reasons}
    if others:
        worst = sorted(others.items(), key=lambda item: -item[1])
        yield Finding("note", f"{name}: without a limit: {', '.join(f'{unit} {score}' for unit, score in worst)}")
