"""Volumes: made, moved, made bigger, and what may not be done to them."""

from __future__ import annotations

from typing import Any

import hcloud
import pytest
from hcloud.locations import Location
from hcloud.volumes import Volume

from tests.cloud.conftest import Api, wait_until

ORDER = {"name": "data", "size": 10, "location": "fsn1", "format": "ext4"}


def make(api: Api, **change: Any) -> dict[str, Any]:
    """Make a volume and wait until it is there; returns it as it is then."""
    order = {key: value for key, value in {**ORDER, **change}.items() if value is not None}
    made = api.ok("POST", "/volumes", order)
    for action in [made["action"], *made["next_actions"]]:
        assert api.done(action)["status"] == "success"
    volume: dict[str, Any] = api.ok("GET", f"/volumes/{made['volume']['id']}")["volume"]
    return volume


def act(api: Api, volume: dict[str, Any], verb: str, **body: Any) -> dict[str, Any]:
    return api.done(api.ok("POST", f"/volumes/{volume['id']}/actions/{verb}", body)["action"])


def where(api: Api, volume: dict[str, Any]) -> tuple[int | None, int | None]:
    """Which server has it: by the records, and on the machine side."""
    record = api.ok("GET", f"/volumes/{volume['id']}")["volume"]
    return record["server"], api.machines.volumes[volume["id"]].machine


def test_a_life(client: Any, api: Api) -> None:
    made = client.volumes.create(
        10, "data", location=Location(name="fsn1"), format="ext4", labels={"role": "db"}, automount=False
    )
    made.action.wait_until_finished()
    volume = client.volumes.get_by_name("data")
    assert (volume.status, volume.size, volume.format, volume.server) == (Volume.STATUS_AVAILABLE, 10, "ext4", None)
    assert volume.linux_device == f"/dev/disk/by-id/scsi-0HC_Volume_{volume.id}"
    assert (volume.location.name, volume.labels, volume.protection) == ("fsn1", {"role": "db"}, {"delete": False})
    spec = api.machines.volumes[volume.id].spec
    assert (spec.size_gb, spec.format) == (10, "ext4")

    server = client.servers.get_by_id(api.server()["id"])
    client.volumes.attach(volume, server, automount=False).wait_until_finished()
    volume.reload()
    server.reload()
    assert volume.server.id == server.id
    assert [one.id for one in server.volumes] == [volume.id]
    assert api.machines.volumes[volume.id].machine == server.id

    client.volumes.resize(volume, 20).wait_until_finished()
    assert client.volumes.get_by_id(volume.id).size == 20
    assert api.machines.volumes[volume.id].size_gb == 20

    client.volumes.detach(volume).wait_until_finished()
    assert client.volumes.get_by_id(volume.id).server is None
    assert client.volumes.update(volume, name="old-data", labels={}).name == "old-data"
    assert [action.command for action in client.volumes.get_actions(volume)] == [
        "create_volume", "attach_volume", "resize_volume", "detach_volume",
    ]  # fmt: skip
    assert client.volumes.delete(volume)
    assert client.volumes.get_all() == []
    assert api.machines.volumes == {}


def test_made_for_a_server(client: Any, api: Api) -> None:
    server = client.servers.get_by_id(api.server()["id"])
    made = client.volumes.create(10, "data", server=server)
    assert [action.command for action in made.next_actions] == ["attach_volume"]
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    volume = client.volumes.get_by_id(made.volume.id)
    assert (volume.location.name, volume.server.id, volume.format) == ("fsn1", server.id, None)
    assert api.machines.volumes[volume.id].machine == server.id


def test_a_server_with_volumes(api: Api) -> None:
    volume, other = make(api), make(api, name="far", location="nbg1")
    server = api.server(volumes=[volume["id"]], automount=False)
    assert server["volumes"] == [volume["id"]]
    verbs = [verb for verb, _ in api.machines.calls]
    assert verbs.index("attach_volume") < verbs.index("start"), "its first boot finds it"
    order = {"name": "b", "server_type": "cx23", "image": "debian-13", "location": "fsn1"}
    for volumes, code in (
        ([volume["id"]], "volume_already_attached"),
        ([other["id"]], "invalid_input"),
        ([7], "invalid_input"),
    ):
        assert api.error("POST", "/servers", {**order, "volumes": volumes}) == (422, code)
    assert api.error("POST", "/servers", {**order, "automount": True}) == (422, "invalid_input")
    assert len(api.ok("GET", "/servers")["servers"]) == 1


def test_it_outlives_its_server(api: Api) -> None:
    server = api.server()
    volume = make(api, location=None, server=server["id"])
    api.done(api.ok("DELETE", f"/servers/{server['id']}")["action"])
    assert where(api, volume) == (None, None)
    successor = api.server()
    act(api, volume, "attach", server=successor["id"])
    assert where(api, volume) == (successor["id"], successor["id"])
    assert [verb for verb, _ in api.machines.calls].count("create_volume") == 1


def test_what_is_in_use_or_protected_stays(api: Api) -> None:
    server = api.server()
    volume = make(api, location=None, server=server["id"])
    path = f"/volumes/{volume['id']}"
    assert api.error("DELETE", path) == (422, "service_error")
    attach = {"server": api.server("other")["id"]}
    assert api.error("POST", f"{path}/actions/attach", attach) == (422, "volume_already_attached")
    act(api, volume, "detach")
    assert api.error("POST", f"{path}/actions/detach") == (422, "invalid_input")
    act(api, volume, "change_protection", delete=True)
    assert api.error("DELETE", path) == (423, "protected")
    act(api, volume, "change_protection", delete=False)
    api.ok("DELETE", path)
    assert api.error("GET", path) == (404, "not_found")
    assert api.machines.volumes == {}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "-data"},
        {"name": "a" * 65},
        {"name": "a b"},
        {"size": 9},
        {"size": 10241},
        {"size": "10"},
        {"size": None},
        {"format": "btrfs"},
        {"location": None},
        {"location": "mars"},
        {"server": 1},
        {"automount": True},
        {"labels": {"a": "b c"}},
    ],
)
def test_orders_that_cannot_be(api: Api, change: dict[str, Any]) -> None:
    order = {key: value for key, value in {**ORDER, **change}.items() if value is not None}
    assert api.error("POST", "/volumes", order) == (422, "invalid_input")
    assert api.ok("GET", "/volumes")["volumes"] == []


def test_only_up_only_here_and_not_too_many(api: Api) -> None:
    volume = make(api, size=20)
    path = f"/volumes/{volume['id']}/actions"
    for size in (10, 20, 10241):
        assert api.error("POST", f"{path}/resize", {"size": size}) == (422, "invalid_input")
    server, far = api.server(), api.server("far", location="hel1")
    assert api.error("POST", f"{path}/attach", {"server": far["id"]}) == (422, "invalid_input")
    assert api.error("POST", f"{path}/attach", {"server": 7}) == (422, "invalid_input")
    assert api.error("POST", f"{path}/attach", {"server": server["id"], "automount": True}) == (422, "invalid_input")
    assert api.error("POST", "/volumes", ORDER) == (409, "uniqueness_error")
    for number in range(16):
        make(api, name=f"v{number}", location=None, server=server["id"])
    assert api.error("POST", f"{path}/attach", {"server": server["id"]}) == (403, "resource_limit_exceeded")


def test_lists(client: Any, api: Api) -> None:
    make(api, name="a", labels={"role": "db"})
    make(api, name="b")
    assert [volume.name for volume in client.volumes.get_all(label_selector="role=db")] == ["a"]
    assert [volume.name for volume in client.volumes.get_all(status=["available"])] == ["a", "b"]
    assert client.volumes.get_all(status=["creating"]) == []
    assert [one["name"] for one in api.ok("GET", "/volumes?sort=name:desc")["volumes"]] == ["b", "a"]
    assert [one["name"] for one in api.ok("GET", "/volumes?name=b")["volumes"]] == ["b"]
    (first, *_) = client.volumes.actions.get_all()
    assert client.volumes.actions.get_by_id(first.id).command == "create_volume"


@pytest.mark.parametrize("api", [{"action_delay": 0.3}], indirect=True)
def test_one_thing_at_a_time(api: Api) -> None:
    made = api.ok("POST", "/volumes", ORDER)
    volume = made["volume"]
    assert (volume["status"], made["action"]["status"]) == ("creating", "running")
    path = f"/volumes/{volume['id']}"
    assert api.error("POST", f"{path}/actions/resize", {"size": 20}) == (423, "locked")
    assert api.error("DELETE", path) == (423, "locked")
    api.done(made["action"])
    assert api.ok("GET", path)["volume"]["status"] == "available"


@pytest.mark.parametrize(("verb", "attached"), [("attach_volume", False), ("detach_volume", True)])
def test_what_fails_leaves_it_where_it_was(api: Api, verb: str, attached: bool) -> None:
    server = api.server()
    volume = make(api)
    if attached:
        act(api, volume, "attach", server=server["id"])
    api.machines.failing.add(verb)
    body = {} if attached else {"server": server["id"]}
    assert act(api, volume, verb.removesuffix("_volume"), **body)["status"] == "error"
    there = server["id"] if attached else None
    assert where(api, volume) == (there, there)


def test_one_that_could_not_be_made_can_be_deleted(client: Any, api: Api) -> None:
    api.machines.failing.add("create_volume")
    made = client.volumes.create(10, "data", location=Location(name="fsn1"))
    with pytest.raises(hcloud.actions.ActionFailedException):
        made.action.wait_until_finished()
    server = api.server()
    assert act(api, {"id": made.volume.id}, "attach", server=server["id"])["status"] == "error"
    assert client.volumes.delete(made.volume)


def test_after_a_restart_all_is_as_ordered(api: Api) -> None:
    """What nobody ordered goes, what has gone missing is made again, and what was pulled out is plugged in."""
    server = api.server()
    kept, lost = make(api, location=None, server=server["id"]), make(api, name="lost")
    stray = api.machines.volumes.pop(lost["id"])
    api.machines.volumes[kept["id"]].machine = None
    api.machines.volumes[4711] = stray
    api.restart()
    wait_until(lambda: set(api.machines.volumes) == {kept["id"], lost["id"]})
    wait_until(lambda: where(api, kept) == (server["id"], server["id"]))
    assert api.machines.volumes[lost["id"]].spec == stray.spec


def test_a_fault_of_an_action(api: Api) -> None:
    volume, server = make(api), api.server()
    assert api.ask("POST", "/_lab/faults", {"action": "attach_volume", "server": "web", "count": 1}).ok
    assert act(api, volume, "attach", server=server["id"])["status"] == "error"
    assert where(api, volume) == (None, None)
    assert act(api, volume, "attach", server=server["id"])["status"] == "success"
