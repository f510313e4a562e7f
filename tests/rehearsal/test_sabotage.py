"""Are the checks any good? Each wrong way is built in on purpose and must turn its check red; then all is green again.

Those that do not disturb each other are built in together. What was caught stands in build/<stack>/sabotage.json, and
as a figure on the security page.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from bastide.evidence import evidence_path, load, write_unsigned
from tests.rehearsal.sabotages import SABOTAGES, Sabotage
from tests.rehearsal.sabotages.verdicts import Verdicts
from tests.rehearsal.stack import Rehearsal
from tests.verify.evidence_plugin import commit

LAB = "flow"


@pytest.fixture(scope="module")
def table(rehearsal: Rehearsal) -> Iterator[list[dict[str, Any]]]:
    """The rows of the published figure; written when the last sabotage is over."""
    rows: list[dict[str, Any]] = []
    yield rows
    if len(rows) < len(SABOTAGES):
        return  # a part of them is no figure
    figure = {
        "version": 1,
        "at": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "commit": commit(rehearsal.root),
        "caught": sum(row["caught"] for row in rows),
        "total": len(rows),
        "rows": rows,
    }
    write_unsigned(rehearsal.build / "sabotage.json", json.dumps(figure, indent=1) + "\n")


@pytest.fixture(scope="module")
def verdicts(rehearsal: Rehearsal, request: pytest.FixtureRequest) -> Iterator[Verdicts]:
    """Verdicts of the sabotages that were selected."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    with pytest.MonkeyPatch.context() as patch:
        # each is a run of Pulumi's, and nothing here changes them
        patch.setattr(rehearsal, "token", cache(rehearsal.token))
        patch.setattr(rehearsal, "storage_keys", cache(rehearsal.storage_keys))
        chosen = (item.callspec.params.get("sabotage") for item in items)
        yield Verdicts(rehearsal, [one for one in chosen if isinstance(one, Sabotage)])


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_it_is_caught(sabotage: Sabotage, verdicts: Verdicts, table: list[dict[str, Any]]) -> None:
    verdict = verdicts.of(sabotage)
    table.append(
        {"control": sabotage.control, "what": sabotage.what, "caught": verdict.caught, "detail": verdict.detail,
         "seconds": verdict.seconds}
    )  # fmt: skip
    assert verdict.caught, f"{sabotage.name}: not caught ({verdict.outcome}: {verdict.detail})"
    if verdict.again:
        warnings.warn(f"{sabotage.name}: named only when it was tried alone", stacklevel=1)


def test_all_is_green_again(rehearsal: Rehearsal) -> None:
    done = rehearsal.verify(check=False)
    failed = [f"{row.control} on {row.machine}: {row.detail}" for row in load(
        evidence_path(rehearsal.stack, rehearsal.root)).rows if row.outcome == "failed"]  # fmt: skip
    assert done.ok, failed or done.stdout[-2000:]
    assert failed == []
