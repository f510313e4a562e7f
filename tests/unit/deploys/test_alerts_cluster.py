"""What is told of the database cluster: nobody leads, two do, one does not follow; and a switchover says nothing."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from bastide.layout.alerts import CLUSTER_SOCKET, CLUSTER_UNIT
from bastide.settings import Settings
from deploys.alerts import deploy as alerts
from deploys.alerts.program import cluster, watch
from deploys.alerts.program.cluster import ClusterWatch, own_view, silent_patroni, view_of
from tests.unit.deploys.box import ALERTS, MACHINES, SECRETS, SETTINGS, here
from tests.unit.deploys.telling import ORDER, Machine, came, rounds

SITES = ["primary", "standby"]
DATABASES = {"databases": {"app": {"roles": {"app": "owner"}}}}


def view(leads: bool, leader: str | None, **states: str) -> dict[str, Any]:
    members = {name: {"state": state, "lag": None if state == "running" else 0} for name, state in states.items()}
    return {"answers": True, "leads": leads, "leader": leader, "members": members}


WELL = {
    "primary": view(True, "primary", primary="running", standby="streaming"),
    "standby": view(False, "primary", primary="running", standby="streaming"),
}
SILENT = {**view(False, None), "answers": False}
NOBODY = {name: view(False, "", primary="stopped", standby="running") for name in SITES}


def told(steps: list[tuple[float, dict[str, Any]]]) -> dict[str, str]:
    """What is found after these views, each at its second."""
    watching = ClusterWatch(SITES, 16, {})
    found: dict[str, Any] | None = {}
    for at, views in steps:
        found = watching.findings(views, at)
    return {key: one["what"] for key, one in (found or {}).items()}


def test_a_cluster_that_is_well_says_nothing() -> None:
    assert told([(0, WELL), (1000, WELL)]) == {}


def test_nobody_leads_only_when_it_lasts() -> None:
    assert told([(0, WELL), (15, NOBODY), (60, NOBODY)]) == {}
    assert told([(0, WELL), (15, NOBODY), (75, NOBODY)]) == {"leader/none": "nobody leads: nothing can be written"}
    # a switchover between two looks, and another one soon after it
    assert told([(0, NOBODY), (45, WELL), (60, NOBODY), (90, NOBODY)]) == {}


def test_a_switchover_says_nothing() -> None:
    after = {
        "primary": view(False, "standby", primary="streaming", standby="running"),
        "standby": view(True, "standby", primary="streaming", standby="running"),
    }
    # pages are as old as a round: for one both lead, for the next one nobody does
    both = {"primary": WELL["primary"], "standby": after["standby"]}
    starting = {**after, "standby": view(True, "standby", primary="stopped", standby="running")}
    assert told([(0, WELL), (15, both), (30, NOBODY), (45, starting), (300, starting), (330, after)]) == {}


def test_two_that_lead_are_told_by_what_each_says_of_its_own_server() -> None:
    both = {"primary": WELL["primary"], "standby": {**WELL["standby"], "leads": True}}
    assert told([(0, both), (45, both)]) == {
        "leaders/all": "primary and standby both lead: what one takes the other has not"
    }


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ({"state": "starting", "lag": None}, "standby does not follow: it is starting"),
        ({"state": "running", "lag": 0}, "standby does not follow: it is running"),
        ({"state": "streaming", "lag": 17_000_000}, "standby is 17 MB behind the leader"),
        ({"state": "streaming", "lag": 16_000_000}, ""),
        ({"state": "streaming", "lag": None}, ""),
        (None, "standby does not follow: its Patroni is not there"),
    ],
)
def test_a_standby_that_does_not_follow(member: dict[str, Any] | None, says: str) -> None:
    members = {**WELL["primary"]["members"], "standby": member}
    if member is None:
        del members["standby"]
    views = {"primary": {**WELL["primary"], "members": members}, "standby": WELL["standby"]}
    assert told([(0, views), (299, views)]) == {}
    assert told([(0, views), (300, views)]) == ({"follower/standby": says} if says else {})


def test_of_a_site_that_does_not_answer_nothing_new_is_said() -> None:
    alone = {"primary": view(True, "primary", primary="running")}
    assert told([(0, WELL), (15, alone), (1000, alone)]) == {}
    behind = {**WELL, "primary": view(True, "primary", primary="running", standby="starting")}
    # and what was said is not over
    gone = {"follower/standby": "standby does not follow: its Patroni is not there"}
    assert told([(0, behind), (300, behind), (315, alone)]) == gone
    assert told([(0, behind), (300, behind), (315, {"primary": WELL["primary"]})]) == {}, "the leader says so"


def test_who_did_not_follow_is_not_well_because_nobody_leads() -> None:
    behind = {**WELL, "primary": view(True, "primary", primary="running", standby="starting")}
    says = told([(0, behind), (300, behind), (315, NOBODY), (375, NOBODY)])
    assert says == {
        "leader/none": "nobody leads: nothing can be written",
        "follower/standby": "standby does not follow",
    }
    assert told([(0, behind), (300, behind), (315, NOBODY), (375, WELL)]) == {}


def test_who_leads_without_an_answer_leads_until_its_lease_is_over() -> None:
    standby = {"standby": WELL["standby"]}
    assert told([(0, standby), (100, standby)]) == {}
    over = {"standby": NOBODY["standby"]}
    assert told([(0, standby), (100, over), (160, over)]) == {"leader/none": "nobody leads: nothing can be written"}


def test_without_a_view_of_the_cluster_nobody_can_say() -> None:
    cut_off = {"standby": view(False, None)}
    assert ClusterWatch(SITES, 16, {}).findings(cut_off, 0) is None
    assert ClusterWatch(SITES, 16, {}).findings({}, 0) is None
    # with one site's Patroni gone and the other one cut off, and with both gone, it is clear
    for views in ({"primary": SILENT, "standby": view(False, None)}, dict.fromkeys(SITES, SILENT)):
        assert told([(0, views), (60, views)]) == {"leader/none": "nobody leads: nothing can be written"}
    # all sites are there, and none leads: whatever etcd says
    both = {name: view(False, None) for name in SITES}
    assert told([(0, both), (60, both)]) == {"leader/none": "nobody leads: nothing can be written"}


def test_one_that_was_and_is_cut_off_is_not_believed() -> None:
    cut_off = {"primary": view(False, "", primary="stopped"), "standby": view(False, "primary", primary="running")}
    assert told([(0, cut_off), (60, cut_off)]) == {"leader/none": "nobody leads: nothing can be written"}


def test_patroni_is_asked_at_a_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    said = [""]

    def answer(server: socket.socket) -> None:
        while True:
            taken, _ = server.accept()
            with taken:
                taken.sendall(said[0].encode())

    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threading.Thread(target=answer, args=(server,), daemon=True).start()
    members = [
        {"name": "primary", "role": "leader", "state": "running"},
        {"name": "standby", "role": "sync_standby", "state": "streaming", "lag": 3},
    ]
    own = {"state": "running", "role": "primary"}
    said[0] = f"{json.dumps({'members': members})}\n{json.dumps(own)}\n"
    seen = own_view(path)
    assert seen == {
        "answers": True,
        "leads": True,
        "leader": "primary",
        "members": {"primary": {"state": "running", "lag": None}, "standby": {"state": "streaming", "lag": 3}},
    }
    assert view_of({"cluster": seen}) == seen
    # etcd does not answer Patroni
    said[0] = f"\n{json.dumps({'state': 'running', 'role': 'replica'})}\n"
    assert own_view(path) == view(False, None)
    said[0] = "\n\n"
    assert own_view(path) == SILENT
    said[0] = "<html>"
    with pytest.raises(ValueError, match="Expecting value"):
        own_view(path)
    with pytest.raises(OSError, match="No such file"):
        own_view(str(tmp_path / "other"))


def test_a_site_says_itself_that_its_patroni_is_silent() -> None:
    assert [one.key for one in silent_patroni(SILENT)] == ["patroni/answer"]
    assert silent_patroni(WELL["primary"]) == []


@pytest.mark.parametrize(
    "page", [{}, {"cluster": None}, {"cluster": []}, {"cluster": {"leads": True}}, {"cluster": {"members": ["a"]}}]
)
def test_a_page_that_says_nothing_of_it_is_no_view(page: dict[str, Any]) -> None:
    assert view_of(page) is None


def test_a_page_of_anybody_is_cut_to_what_it_may_be() -> None:
    members = {f"m{n}": {"state": "a\x1b[2J" * 500, "lag": "x"} for n in range(100)}
    seen = view_of({"cluster": {"leads": "yes", "leader": 3, "members": {"no": 1, **members}}})
    assert seen is not None
    assert (seen["leads"], seen["leader"], len(seen["members"])) == (False, None, 19)
    assert all(one["lag"] is None and "\x1b" not in one["state"] for one in seen["members"].values())


@pytest.fixture
def clustered(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The three machines, two of them with databases that are well, and a clock that goes on by hand."""
    for name in ORDER:
        world[name].watch._cluster = ClusterWatch(SITES, 16, world[name].watch.memory.setdefault("cluster", {}))
        world[name].watch._sites = SITES
        world[name].watch._asks = "/socket" if name in SITES else ""
        world[name].view = WELL.get(name)
    world["clock"] = [watch.time.time()]
    monkeypatch.setattr("deploys.alerts.program.watch.time.time", lambda: world["clock"][0])
    return world


def test_it_is_told_once_by_a_machine_without_databases(clustered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(clustered, monkeypatch, ORDER, 2)
    for name in SITES:
        clustered[name].view = NOBODY[name]
    for _ in range(8):
        clustered["clock"][0] += 15
        rounds(clustered, monkeypatch, ORDER)
    says = "[prod] database cluster: nobody leads: nothing can be written"
    assert came() == [says]
    for name in SITES:
        clustered[name].view = WELL[name]
    clustered["clock"][0] += 15
    rounds(clustered, monkeypatch, ORDER, 2)
    assert came() == [says, "[prod] database cluster: resolved: nobody leads: nothing can be written"]
    assert all(f"{cluster.CLUSTER}/leader/none" in clustered[name].watch.memory["told"] for name in ORDER)


def test_alone_it_tells_itself(tmp_path: Path, sink: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"sites": ["primary"], "socket": "/socket", "most_behind_mb": 16}
    alone = Machine("primary", tmp_path, sink, {}, order=["primary"], cluster=wanted)
    alone.view = view(False, "", primary="stopped")
    now = watch.time.time()
    for step in range(6):
        monkeypatch.setattr("deploys.alerts.program.watch.time.time", lambda now=now + 15 * step: now)
        alone.round(monkeypatch)
    assert came() == ["[prod] database cluster: nobody leads: nothing can be written"]


def test_only_sites_have_somebody_who_asks_their_patroni() -> None:
    settings = Settings.model_validate({**SETTINGS.model_dump(), "alerts": ALERTS, "postgres": DATABASES})
    for machine, there in zip(MACHINES, (True, True, False), strict=True):
        wanted = alerts.wanted_of(here(machine, settings=settings, alert_secrets=SECRETS))
        files = {file.path.rpartition("/")[2]: file.content for file in alerts.program_files(wanted)}
        assert [files[name] is not None for name in (CLUSTER_SOCKET, CLUSTER_UNIT)] == [there, there]
        assert wanted.config is not None
        assert wanted.config["cluster"]["sites"] == SITES
    without = Settings.model_validate({**SETTINGS.model_dump(), "alerts": ALERTS})
    config = alerts.wanted_of(here(settings=without, alert_secrets=SECRETS)).config
    assert config is not None
    assert config["cluster"] is None
