"""The measured figures as a page of the documentation, with a plot of the growth from 3 to 20 machines."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import pygal  # type: ignore[import-untyped]
from pygal.style import CleanStyle  # type: ignore[import-untyped]

from benchmarks.figures import Figure, as_markdown

_PAGE = """# Speed

What users wait for, in one run of `make bench publish=1` on {date}: medians, {cores} cores, Linux {kernel}. The
machines of the local cloud share those cores with what is measured. Machines differ: compare the ratios.

{table}

![Seconds against the number of machines](speed.svg)

A baseline is the plain minimum that any tool would have to do: one fresh OpenSSH connection a machine, all side by
side, each with one command as root. `python -m benchmarks --help` has the numbers of rounds. Where the time goes, and
why a goal was missed: [one process deploys to all](../decisions/0016-one-process-deploys-to-all.md).
"""


def publish(figures: list[Figure], growth: dict[str, dict[int, Figure]], folder: Path) -> None:
    """Write speed.md and speed.svg into `folder`. `growth` has, by line of the plot, a figure for each size."""
    page = _PAGE.format(
        date=datetime.now(UTC).date().isoformat(),
        cores=os.cpu_count(),
        kernel=platform.release().partition("-")[0],
        table=as_markdown(figures),
    )
    (folder / "speed.md").write_text(page, encoding="utf-8")
    (folder / "speed.svg").write_text(_plot(growth), encoding="utf-8")


def _plot(growth: dict[str, dict[int, Figure]]) -> str:
    chart = pygal.XY(
        style=CleanStyle,
        width=720,
        height=380,
        title="Seconds (median) against machines",
        x_title="machines",
        legend_at_bottom=True,
        legend_at_bottom_columns=1,
        range=(0, None),
        js=[],  # a plain picture: nothing is fetched, nothing runs
    )
    chart.x_labels = sorted({size for line in growth.values() for size in line})
    for name, line in growth.items():
        chart.add(name, [(size, round(figure.median, 2)) for size, figure in sorted(line.items())])
    return str(chart.render(is_unicode=True))
