"""Each score beside stock Debian's, as plain pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pygal  # type: ignore[import-untyped]
from pygal.style import CleanStyle  # type: ignore[import-untyped]

from bastide.files import write_whole
from bastide.lynis import GOAL, STOCK
from bastide.settings import Settings
from hosts.commands.auditing.ask import Audit
from hosts.commands.auditing.result import limits, stock


def write_plots(found: Sequence[Audit], settings: Settings, folder: Path) -> tuple[Path, Path]:
    """Write `audit-lynis.svg` and `audit-exposure.svg` into the folder; returns their paths."""
    index, exposure = folder / "audit-lynis.svg", folder / "audit-exposure.svg"
    write_whole(index, _index(found))
    write_whole(exposure, _exposure(found, settings))
    return index, exposure


def _index(found: Sequence[Audit]) -> str:
    chart = _chart(f"Lynis' index: more is better (goal {GOAL})", 100, 160 + 40 * len(found))
    chart.x_labels = [one.name for one in found]
    chart.add("stock Debian 13", [STOCK.lynis] * len(found))
    chart.add("here", [one.lynis.index for one in found])
    return _plain(chart)


def _exposure(found: Sequence[Audit], settings: Settings) -> str:
    """The highest of all machines for each service that has a limit."""
    units = {unit: limit for one in found for unit, limit in limits(one.name, settings).items()}
    scores = {unit: [one.exposure[unit] for one in found if unit in one.exposure] for unit in units}
    seen = [unit for unit in units if scores[unit]]
    chart = _chart("Exposure of services: less is better", 10, 160 + 50 * len(seen))
    chart.x_labels = [unit.removesuffix(".service") for unit in seen]
    chart.add("stock Debian 13", [stock(unit) for unit in seen])
    chart.add("here", [max(scores[unit]) for unit in seen])
    chart.add("at most", [units[unit] for unit in seen])
    return _plain(chart)


def _plain(chart: pygal.HorizontalBar) -> str:
    """The picture; what pygal has browsers run is left out."""
    return re.sub(r"<script.*?</script>", "", str(chart.render(is_unicode=True)), flags=re.DOTALL)


def _chart(title: str, most: int, height: int) -> pygal.HorizontalBar:
    return pygal.HorizontalBar(
        style=CleanStyle,
        width=720,
        height=height,
        title=title,
        legend_at_bottom=True,
        range=(0, most),
        print_values=True,
        js=[],
    )
