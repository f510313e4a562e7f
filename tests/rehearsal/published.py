"""The figure that other stacks' pages print of a rehearsal: for how long writes stopped, and what was lost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bastide.evidence import write_unsigned
from bastide.machines import build_dir
from tests.rehearsal.outages import POWER_CUT, Outage

NAME = "failover.json"


def publish(found: Sequence[Outage], commit: str, root: Path) -> None:
    """Write it, if the leader lost power among what was found. Rows lost in any of the failures count."""
    cuts = [outage.stopped for outage in found if outage.what == POWER_CUT]
    if not cuts:
        return
    figure = {
        "version": 1,
        "at": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "commit": commit,
        "runs": len(cuts),
        "seconds": {"p50": percentile(cuts, 50), "p95": percentile(cuts, 95), "max": max(cuts)},
        "acknowledged": sum(outage.acknowledged for outage in found),
        "lost": sum(outage.lost for outage in found),
        "outages": [{"what": outage.what, "stopped": outage.stopped, "lost": outage.lost} for outage in found],
    }
    path = build_dir("rehearsal", root) / NAME
    write_unsigned(path, json.dumps(figure, indent=1) + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share / 100 * len(ranked)) - 1)]
