"""Figures: their values, goals and baselines, and the table of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """What was timed, in seconds, every value of it.

    `goal` is the limit for the median, None when there is none. `baseline` names another figure of the same run that
    does the plain minimum: the ratio to it says more than seconds do, since machines differ.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    goal: float | None = None
    baseline: str = ""

    @property
    def median(self) -> float:
        """The middle one of the values."""
        return statistics.median(self.seconds)

    @property
    def verdict(self) -> str:
        """The goal, and whether it was met; "" without one."""
        if self.goal is None:
            return ""
        return f"under {self.goal:.4g} s: {'met' if self.median < self.goal else 'MISSED'}"

    def ratio(self, figures: Iterable[Figure]) -> str:
        """How many times the baseline it takes; "" without one."""
        plain = next((figure for figure in figures if figure.name == self.baseline), None)
        return f"{self.median / plain.median:.1f} x" if plain else ""


HEADINGS = ("figure", "median", "range", "goal", "against its baseline")


def rows(figures: list[Figure]) -> list[tuple[str, ...]]:
    """The table's rows, in words."""
    return [
        (
            figure.name,
            f"{figure.median:.2f} s",
            f"{min(figure.seconds):.2f} to {max(figure.seconds):.2f}",
            figure.verdict,
            figure.ratio(figures),
        )
        for figure in figures
    ]


def as_text(figures: list[Figure]) -> str:
    """The table for a terminal."""
    lines = [HEADINGS, *rows(figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines)


def as_markdown(figures: list[Figure]) -> str:
    """The table for the documentation."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows(figures)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
