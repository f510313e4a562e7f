"""In which order pytest-xdist's workers take the groups of tests."""

from __future__ import annotations

from typing import Any

from xdist.scheduler.loadgroup import LoadGroupScheduling  # type: ignore[import-untyped]

from tests.groups import LABS


class LabsFirst(LoadGroupScheduling):  # type: ignore[misc]
    """Each worker takes a lab, then a file of tests without one, then a lab again; the longest labs first.

    A worker is given its next group while it still has two tests of the present one. After a lab that is one of a few
    seconds, so that no lab waits for a worker that is busy with a long test while another one has nothing to do.
    """

    def _assign_work_unit(self, node: Any) -> None:
        labs = [scope for scope in self.workqueue if scope in LABS]
        others = [scope for scope in self.workqueue if scope not in LABS]
        had = list(self.assigned_work[node])
        wants_other = bool(had) and had[-1] in LABS
        choice = (others or labs) if wants_other else (labs or others)
        self.workqueue.move_to_end(choice[0], last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        """The lab, which stands behind an @, or the file."""
        scope: str = super()._split_scope(nodeid)
        return scope if scope in LABS else nodeid.partition("::")[0]
