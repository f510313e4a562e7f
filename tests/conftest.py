"""What all tests share: the options, and the order: seconds first, then the whole flow, then its faults."""

from __future__ import annotations

from pathlib import Path

import pytest

ORDER = (
    *("unit", "cloud", "test_provider", "test_flow", "test_sabotage", "test_postgres"),
    *("test_secrets", "test_day_two", "test_break_glass", "test_lockout", "test_faults"),
    *(
        "test_bans",
        "test_updates",
        "test_dns",
        "test_storage",
        "test_existing",
        "test_killed",
        "test_volumes",
        "lab",
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full` adds the slow faults, `--keep` leaves the rehearsal's machines running for a look."""
    parser.addoption("--full", action="store_true", help="run the slow faults of the rehearsal too")
    parser.addoption("--keep", action="store_true", help="leave the rehearsal's lab up at the end")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The most telling first; slow ones only when asked for."""
    items.sort(key=lambda item: _place(item.path))
    if config.getoption("--full"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def _place(path: Path) -> int:
    return next((n for n, word in enumerate(ORDER) if word in path.parts or path.stem.startswith(word)), len(ORDER))
