"""How sabotages are judged: by their own reason, again alone when their round did not name them, and all are undone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from bastide.console import Completed, run
from bastide.controls import control
from bastide.evidence import Evidence, save
from tests.rehearsal.sabotages.model import ANY, STANDBY, Sabotage
from tests.rehearsal.sabotages.verdicts import Verdicts
from tests.rehearsal.stack import Rehearsal
from tests.unit.bastide import proofs


class Machines:
    """A rehearsal whose machines are folders: a control is broken on one by a file of its name, which holds why."""

    def __init__(self, folder: Path) -> None:
        self.build = folder
        self.file = proofs.EXAMPLE
        self.runs: list[str] = []
        for name in ANY:
            (folder / name).mkdir()

    def exec(self, machine: str, script: str, *, timeout: float) -> Completed:
        return run(["sh", "-ec", script], cwd=self.build / machine, timeout=timeout)

    def verify_warm(self, *words: str, keys: bool) -> None:
        pairs = list(zip(words[::2], words[1::2], strict=True))
        ids = dict.fromkeys(value for option, value in pairs if option == "--control")
        names = dict.fromkeys(value for option, value in pairs if option == "--machine")
        self.runs.append(f"{' '.join(ids)} on {' '.join(names)}")
        machines = proofs.inventory()
        rows = [
            proofs.row(one, machine, *(proofs.check("failed", text) for text in self._broken(one, machine.name)))
            for one in ids
            for machine in control(one).machines(machines, proofs.SETTINGS)
            if machine.name in names
        ]
        save(Evidence(run=proofs.run(machines), rows=tuple(rows)), self.build / "sabotage-evidence.json")

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.build)) for name in ANY for path in (self.build / name).iterdir())

    def _broken(self, one: str, machine: str) -> Iterable[str]:
        return [path.read_text().strip() for path in (self.build / machine).glob(f"{one}*")]


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def _verdicts(machines: Machines, *sabotages: Sabotage) -> Verdicts:
    return Verdicts(cast(Rehearsal, machines), sabotages)


def _broken(
    one: str, says: str = "it is wrong", *, break_: str = "", undo: str = "", where: tuple[str, ...] = ANY
) -> Sabotage:
    return Sabotage(one, f"broken {where[0]}", says, break_ or f"echo it is wrong > {one}", undo or f"rm {one}", where)


def test_a_round_is_done_once_and_undone(machines: Machines) -> None:
    several = [_broken("ssh-01"), _broken("ssh-02"), _broken("users-01")]
    verdicts = _verdicts(machines, *several)
    assert [verdicts.of(one).caught for one in several] == [True] * 3
    assert machines.runs == ["ssh-01 ssh-02 users-01 on standby"]
    assert machines.left() == []


def test_what_does_nothing_is_not_caught_neither_together_nor_alone(machines: Machines) -> None:
    nothing, other = _broken("ssh-01", break_="true", undo="true"), _broken("ssh-02")
    verdicts = _verdicts(machines, nothing, other)
    verdict = verdicts.of(nothing)
    assert (verdict.caught, verdict.outcome, verdict.again) == (False, "proven", True)
    assert verdicts.of(other).caught
    assert machines.runs == ["ssh-01 ssh-02 on standby", "ssh-01 on standby"]


def test_red_for_another_reason_is_not_caught(machines: Machines) -> None:
    verdict = _verdicts(machines, one := _broken("ssh-01", "it is mine")).of(one)
    assert (verdict.caught, verdict.detail) == (False, "it is wrong")
    assert machines.runs == ["ssh-01 on standby"]  # it was alone the first time


def test_a_check_that_fell_over_is_not_caught(machines: Machines) -> None:
    one = _broken("ssh-01", break_="echo 'the check itself broke: OSError: it is wrong' > ssh-01")
    assert not _verdicts(machines, one).of(one).caught


def test_one_that_another_hides_is_tried_again_alone(machines: Machines) -> None:
    hidden = _broken("ssh-01", break_="[ -e ../standby/ssh-02 ] && echo other > ssh-01 || echo it is wrong > ssh-01")
    hiding = _broken("ssh-02")
    verdict = (verdicts := _verdicts(machines, hiding, hidden)).of(hidden)
    assert (verdict.caught, verdict.again) == (True, True)
    assert verdicts.of(hiding).caught
    assert machines.runs == ["ssh-02 ssh-01 on standby", "ssh-01 on standby"]


def test_a_script_that_fails_keeps_none_of_the_others_from_being_done_and_undone(machines: Machines) -> None:
    failing = _broken("ssh-01", break_="echo half > ssh-01; echo no such unit; false; echo never > ssh-01")
    other = _broken("ssh-02", break_="cat > ssh-02 <<'END'\nit is wrong\nEND")
    verdicts = _verdicts(machines, failing, other)
    verdict = verdicts.of(failing)
    assert (verdict.caught, verdict.outcome, verdict.detail) == (False, "not done", "its script failed: no such unit")
    assert verdicts.of(other).caught
    assert machines.left() == []


def test_what_is_not_undone_is_said_and_the_rest_is_undone(machines: Machines) -> None:
    stuck = _broken("ssh-01", undo="echo it stays; false")
    other = _broken("ssh-02")
    with pytest.raises(AssertionError, match="it stays"):
        _verdicts(machines, other, stuck).of(other)
    assert machines.left() == ["standby/ssh-01"]


def test_what_several_have_in_common_is_done_once_and_last(machines: Machines) -> None:
    reload = 'echo "$(ls)" | tr "\\n" " " >> ../reloads; echo >> ../reloads'
    one, two = (
        Sabotage(f"ssh-0{n}", "drop-in", "it is wrong", f"echo it is wrong > ssh-0{n}", f"rm ssh-0{n}", STANDBY,
                 then=reload)
        for n in (1, 2)
    )  # fmt: skip
    verdicts = _verdicts(machines, one, two)
    assert verdicts.of(one).caught
    assert [line.split() for line in (machines.build / "reloads").read_text().splitlines()] == [
        ["ssh-01", "ssh-02"],
        [],
    ]


def test_one_that_is_asked_for_alone_is_done_alone(machines: Machines) -> None:
    one = _broken("ssh-01")
    assert _verdicts(machines, one).of(one).caught
    assert machines.runs == ["ssh-01 on standby"]
