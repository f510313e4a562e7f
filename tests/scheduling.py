"""In which order pytest-xdist's workers take the groups of tests."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.groups import LABS, ROOT, lab_of


class LabsFirst(LoadScopeScheduling):  # type: ignore[misc]
    """Each worker takes a lab, then a file of tests without one, then a lab again; the longest labs first.

    A worker is given its next group while it still has two tests of the present one. After a lab that is one of a few
    seconds, so that no lab waits for a worker that is busy with a long test while another one has nothing to do.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._labs: dict[str, str] = {}

    def _assign_work_unit(self, node: Any) -> None:
        labs = [scope for scope in LABS if scope in self.workqueue]
        others = [scope for scope in self.workqueue if scope not in LABS]
        had = list(self.assigned_work[node])
        wants_other = bool(had) and had[-1] in LABS
        choice = (others or labs) if wants_other else (labs or others)
        self.workqueue.move_to_end(choice[0], last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        """The lab, or the file."""
        file = nodeid.partition("::")[0]
        if file not in self._labs:
            self._labs[file] = lab_of(ROOT / file)
        return self._labs[file] or file
