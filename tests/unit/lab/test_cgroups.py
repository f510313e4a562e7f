"""Control groups over a fake tree: both kinds of host are told apart and get the same treatment."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.errors import LabError
from lab.machines import cgroups
from lab.machines.cgroups import Cgroups


@pytest.fixture
def hybrid(tmp_path: Path) -> Path:
    for name in ("unified", "systemd", "memory"):
        (tmp_path / name).mkdir()
    (tmp_path / "unified" / "cgroup.controllers").touch()
    return tmp_path


@pytest.fixture
def pure(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").touch()
    return tmp_path


def test_hybrid_needs_both_hierarchies(hybrid: Path) -> None:
    assert cgroups.kind(hybrid) == "hybrid"
    assert cgroups.hierarchies(hybrid) == (hybrid / "unified", hybrid / "systemd")


def test_version_2_needs_one(pure: Path) -> None:
    assert cgroups.kind(pure) == "v2"
    assert cgroups.hierarchies(pure) == (pure,)


def test_a_host_without_version_2_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(LabError) as refused:
        cgroups.hierarchies(tmp_path)
    assert refused.value.hint


def test_without_systemd_the_tree_is_at_the_top(pure: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "_SYSTEMD_RUNS", tmp_path / "no")
    tree = cgroups.open_tree("bastide-lab-x", mount=pure)
    assert tree.tops == (pure / "bastide-lab-x",)
    assert tree.tops[0].is_dir()


def test_with_systemd_the_tree_is_the_delegated_scope(
    hybrid: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroups, "_SYSTEMD_RUNS", tmp_path)
    monkeypatch.setattr(cgroups, "_scope_path", lambda name: f"/system.slice/{name}.scope")
    monkeypatch.setattr(cgroups, "_start_scope", lambda name: pytest.fail("the scope is there already"))
    tree = cgroups.open_tree("bastide-lab-x", mount=hybrid)
    assert tree.tops == tuple(hybrid / name / "system.slice/bastide-lab-x.scope" for name in ("unified", "systemd"))


def test_groups_are_made_in_each_hierarchy_and_removed_from_the_inside_out(hybrid: Path) -> None:
    tree = Cgroups((hybrid / "unified" / "lab", hybrid / "systemd" / "lab"))
    tree.make("m1/boot1")
    assert (hybrid / "systemd/lab/m1/boot1").is_dir()
    assert tree.procs("m1") == (hybrid / "unified/lab/m1/cgroup.procs", hybrid / "systemd/lab/m1/cgroup.procs")
    tree.make_fresh("m1")
    assert not (hybrid / "unified/lab/m1/boot1").exists()
    tree.remove()
    assert not (hybrid / "unified/lab").exists()
    assert not (hybrid / "systemd/lab").exists()
    tree.remove()


def test_population_and_pids_are_read_from_the_version_2_side(hybrid: Path) -> None:
    top = hybrid / "unified" / "lab"
    tree = Cgroups((top, hybrid / "systemd" / "lab"))
    assert not tree.populated("m1")
    tree.make("m1/boot1")
    (top / "m1/cgroup.events").write_text("populated 1\nfrozen 0\n")
    (top / "m1/boot1/cgroup.procs").write_text("12\n13\n")
    assert tree.populated("m1")
    assert sorted(tree.pids("m1")) == [12, 13]
    assert not tree.wait_empty("m1", 0.01)


def test_a_kill_that_does_not_work_is_said(hybrid: Path) -> None:
    top = hybrid / "unified" / "lab"
    tree = Cgroups((top,))
    tree.kill("nobody")
    tree.make("m1")
    (top / "m1/cgroup.kill").touch()
    (top / "m1/cgroup.events").write_text("populated 1\n")
    with pytest.raises(LabError, match="survive a kill"):
        tree.kill("m1", timeout=0.01)
    assert (top / "m1/cgroup.kill").read_text() == "1"
