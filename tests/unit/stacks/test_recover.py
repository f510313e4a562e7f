"""What a stopped `pulumi up` left behind: adopted when it is ours, read again when that was interrupted, else named."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hcloud
import pytest
import requests

from bastide.console import Completed
from bastide.errors import StackError
from bastide.pulumi_config import config_from
from stacks.ops import pending_bucket, recover
from tests.unit.bastide.proofs import SETTINGS

OURS = {"bastide": "lab", "role": "primary"}
SERVER = {
    "urn": "urn:pulumi:lab::bastide::hcloud:index/server:Server::primary",
    "type": "hcloud:index/server:Server",
    "custom": True,
    "inputs": {"name": "primary", "labels": OURS, "networks": [{"ip": "10.20.0.11"}]},
}
SUBNET = {
    "urn": "urn:pulumi:lab::bastide::hcloud:index/networkSubnet:NetworkSubnet::network-subnet",
    "type": "hcloud:index/networkSubnet:NetworkSubnet",
    "custom": True,
    "inputs": {"networkId": 7, "ipRange": "10.20.0.0/24"},
}
NETWORK = {
    "urn": "urn:pulumi:lab::bastide::hcloud:index/network:Network::network-network",
    "type": "hcloud:index/network:Network",
    "custom": True,
    "id": "7",
    "inputs": {"name": "bastide"},
    "outputs": {"id": "7"},
}


ATTACHMENT = {
    "urn": "urn:pulumi:lab::bastide::hcloud:index/volumeAttachment:VolumeAttachment::primary-volume",
    "type": "hcloud:index/volumeAttachment:VolumeAttachment",
    "custom": True,
    "inputs": {"volumeId": 9, "serverId": 42},
}


class Collection:
    """One kind of things at the provider."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def get_all(self) -> list[Any]:
        return list(self.items)

    def get_by_name(self, name: str) -> Any:
        return next((item for item in self.items if item.name == name), None)


def server(number: int = 42, labels: dict[str, str] | None = None) -> SimpleNamespace:
    net = [SimpleNamespace(ip="10.20.0.11")]
    labels = OURS if labels is None else labels
    return SimpleNamespace(id=number, name="primary", labels=labels, status="running", private_net=net)


def network(number: int) -> SimpleNamespace:
    return SimpleNamespace(id=number, name="bastide", labels={}, subnets=[SimpleNamespace(ip_range="10.20.0.0/24")])


def volume(inside: int | None) -> SimpleNamespace:
    there = None if inside is None else SimpleNamespace(id=inside)
    return SimpleNamespace(id=9, name="primary-volume", labels=OURS, server=there)


def cloud(*servers: Any, networks: tuple[Any, ...] = (network(7),), volumes: tuple[Any, ...] = ()) -> Any:
    empty = Collection()
    return SimpleNamespace(
        servers=Collection(*servers),
        networks=Collection(*networks),
        volumes=Collection(*volumes),
        primary_ips=empty,
        firewalls=empty,
        ssh_keys=empty,
    )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pulumi, as far as this needs it: it keeps the state that it is given and reads what it is told to."""
    box = SimpleNamespace(
        deployment={"resources": [NETWORK]}, words=[], cloud=cloud(server()), zones=None, fail_refresh=False
    )
    box.settings = SimpleNamespace(made={"primary": None}, lab=object())

    def run(words: list[str], *, input: str = "", **_: Any) -> Completed:
        box.words.append(words)
        if words[1:3] == ["stack", "export"]:
            return Completed(0, json.dumps({"deployment": box.deployment}), "")
        if words[1:3] == ["stack", "import"]:
            box.deployment = json.loads(input)["deployment"]
        if words[1] == "refresh":
            if box.fail_refresh:
                raise KeyboardInterrupt
            for item in box.deployment["resources"]:
                if item["urn"] in words:
                    item["outputs"] = {**item["outputs"], "id": item["id"]}
        return Completed(0, "", "")

    monkeypatch.setattr(recover, "run", run)
    keys = {"storage": {"access_key": "a", "secret_key": "s"}, "dns": {"token": "zones"}}
    opened = config_from("lab", {"bastide:secrets": {"objectValue": keys, "secret": True}})
    monkeypatch.setattr(recover, "open_config", lambda stack, root: opened)
    monkeypatch.setattr(recover, "read", lambda path: box.settings)
    monkeypatch.setattr(recover, "provider_api", lambda access: box.zones if access.token == "zones" else box.cloud)
    return box


def adopted(ran: Any, urn: object) -> list[str]:
    return [item.get("id", "") for item in ran.deployment["resources"] if item["urn"] == urn]


def pending(ran: Any, resource: dict[str, Any], *resources: dict[str, Any]) -> None:
    ran.deployment = {
        "resources": [NETWORK, *resources],
        "pending_operations": [{"type": "creating", "resource": resource}],
    }


def test_what_exists_is_taken_over_and_read(ran: Any) -> None:
    pending(ran, SERVER)
    recover.recover("lab", Path())
    assert adopted(ran, SERVER["urn"]) == ["42"]
    assert ran.deployment["pending_operations"] == []
    assert [words[1] for words in ran.words].count("refresh") == 1


def test_what_is_another_s_is_left_alone(ran: Any) -> None:
    ran.cloud = cloud(server(labels={"team": "shop"}))
    pending(ran, SERVER)
    recover.recover("lab", Path())
    assert adopted(ran, SERVER["urn"]) == []


@pytest.mark.parametrize(("inside", "taken"), [(42, ["9"]), (43, []), (None, [])])
def test_a_volume_is_taken_over_where_it_is(ran: Any, inside: int | None, taken: list[str]) -> None:
    ran.cloud = cloud(server(), volumes=(volume(inside),))
    pending(ran, ATTACHMENT)
    recover.recover("lab", Path())
    assert adopted(ran, ATTACHMENT["urn"]) == taken
    wanted = {**SERVER, "urn": "urn:v::primary-volume", "type": "hcloud:index/volume:Volume"}
    pending(ran, {**wanted, "inputs": {"name": "primary-volume", "labels": OURS}})
    recover.recover("lab", Path())
    assert adopted(ran, wanted["urn"]) == ["9"]


@pytest.mark.parametrize(("inside", "read"), [(42, 0), (43, 1), (None, 1)])
def test_a_volume_that_somebody_has_moved_is_seen(
    ran: Any, capsys: pytest.CaptureFixture[str], inside: int | None, read: int
) -> None:
    """`pulumi up` asks the provider nothing when nothing was changed here."""
    ran.cloud = cloud(server(), volumes=(volume(inside),))
    known = {**ATTACHMENT, "id": "9", "outputs": {"id": "9"}}
    ran.deployment = {"resources": [NETWORK, known]}
    recover.recover("lab", Path())
    assert [words[1] for words in ran.words].count("refresh") == read
    assert ("primary-volume: not attached to its server" in capsys.readouterr().out) is bool(read)


def test_a_subnet_of_another_network_with_the_same_range_is_left_alone(ran: Any) -> None:
    ran.cloud = cloud(networks=(network(6), network(7)))
    pending(ran, SUBNET)
    recover.recover("lab", Path())
    assert adopted(ran, SUBNET["urn"]) == ["7-10.20.0.0/24"]


ZONE = {
    "urn": "urn:pulumi:lab::bastide::hcloud:index/zone:Zone::example.eu",
    "type": "hcloud:index/zone:Zone",
    "custom": True,
    "inputs": {"name": "example.eu", "labels": {"bastide": "lab"}},
}
RRSET = {
    "urn": "urn:pulumi:lab::bastide::hcloud:index/zoneRrset:ZoneRrset::example.eu/www/A",
    "type": "hcloud:index/zoneRrset:ZoneRrset",
    "custom": True,
    "inputs": {"zone": "example.eu", "name": "www", "type": "A", "labels": {"bastide": "lab"}},
}


class Zones:
    """The zones of another project: example.eu with a record set, ours or another's."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels

    def get(self, name: str) -> Any:
        if name != "example.eu":
            raise hcloud.APIException("not_found", "no such zone", None)
        return SimpleNamespace(id=77, labels=self.labels)

    def get_rrset(self, zone: Any, name: str, kind: str) -> Any:
        assert zone.id == 77
        return SimpleNamespace(id=f"{name}/{kind}", labels=self.labels)


@pytest.mark.parametrize(("resource", "found"), [(ZONE, "77"), (RRSET, "www/A")])
def test_zones_and_record_sets_are_taken_over_from_their_own_project(
    ran: Any, resource: dict[str, Any], found: str
) -> None:
    ran.zones = SimpleNamespace(zones=Zones({"bastide": "lab"}))
    pending(ran, resource)
    recover.recover("lab", Path())
    assert adopted(ran, resource["urn"]) == [found]
    # the plugin reads them by the id among their outputs
    assert ran.deployment["resources"][-1]["outputs"]["id"] == found
    assert [words[1] for words in ran.words].count("refresh") == 1


@pytest.mark.parametrize("resource", [ZONE, RRSET])
def test_a_zone_of_somebody_else_is_left_alone(ran: Any, resource: dict[str, Any]) -> None:
    ran.zones = SimpleNamespace(zones=Zones({}))
    pending(ran, resource)
    recover.recover("lab", Path())
    assert adopted(ran, resource["urn"]) == []
    resource = {**resource, "inputs": {**resource["inputs"], "name": "example.net", "zone": "example.net"}}
    pending(ran, resource)
    recover.recover("lab", Path())
    assert adopted(ran, resource["urn"]) == []


def test_a_run_that_was_stopped_before_it_read_what_it_adopted_is_completed(ran: Any) -> None:
    pending(ran, SERVER)
    ran.fail_refresh = True
    with pytest.raises(KeyboardInterrupt):
        recover.recover("lab", Path())
    ran.fail_refresh = False
    recover.recover("lab", Path())
    (made,) = [item for item in ran.deployment["resources"] if item["urn"] == SERVER["urn"]]
    assert made["outputs"]["id"] == "42"


@pytest.mark.parametrize(
    "before",
    [
        {**SERVER, "id": "41", "outputs": {"id": "41"}, "pendingReplacement": True},
        {**SERVER, "id": "42", "outputs": {"id": "42"}},
    ],
)
def test_a_replacement_that_was_stopped_leaves_one_server(ran: Any, before: dict[str, Any]) -> None:
    pending(ran, SERVER, before)
    recover.recover("lab", Path())
    assert adopted(ran, SERVER["urn"]) == ["42"]


BUCKET = {
    "urn": "urn:pulumi:lab::bastide::minio:index/s3Bucket:S3Bucket::example-backup",
    "type": "minio:index/s3Bucket:S3Bucket",
    "custom": True,
    "inputs": {"bucket": "example-backup"},
}


@pytest.mark.parametrize(("there", "taken"), [(["example-backup"], ["example-backup"]), (["another"], [])])
def test_a_bucket_that_was_made_is_taken_over(
    ran: Any, monkeypatch: pytest.MonkeyPatch, there: list[str], taken: list[str]
) -> None:
    own = SimpleNamespace(list_buckets=lambda: {"Buckets": [{"Name": name} for name in there]})
    monkeypatch.setattr(pending_bucket, "read", lambda path: SETTINGS)
    monkeypatch.setattr(pending_bucket.buckets, "client", lambda *words: own)
    pending(ran, BUCKET)
    recover.recover("lab", Path())
    assert adopted(ran, BUCKET["urn"]) == taken


@pytest.mark.parametrize(("resource", "found"), [(ZONE, "77"), (BUCKET, "example-backup")])
def test_a_stack_of_zones_or_buckets_alone_asks_with_no_empty_token(
    ran: Any, monkeypatch: pytest.MonkeyPatch, resource: dict[str, Any], found: str
) -> None:
    """All servers are somebody else's: there is no hcloud:token, and what was begun is still taken over."""

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"{name} were asked for with an empty token")

    ran.cloud = Refusing()
    ran.zones = SimpleNamespace(zones=Zones({"bastide": "lab"}))
    monkeypatch.setattr(
        recover, "find_bucket", lambda config, root, item: found if item["type"] == BUCKET["type"] else ""
    )
    pending(ran, resource)
    ran.deployment["resources"].remove(NETWORK)
    recover.recover("lab", Path())
    assert adopted(ran, resource["urn"]) == [found]
    assert [words[1] for words in ran.words].count("refresh") == 1


@pytest.mark.parametrize("error", [hcloud.APIException(401, "unauthorized", None), requests.ConnectionError("refused")])
def test_a_provider_that_refuses_is_named(ran: Any, error: Exception) -> None:
    def refuse() -> None:
        raise error

    ran.cloud.servers.get_all = refuse
    ran.deployment = {"resources": [NETWORK, {**SERVER, "id": "42", "outputs": {"id": "42"}}]}
    with pytest.raises(StackError, match="could not be asked") as caught:
        recover.recover("lab", Path())
    assert "hcloud:token" in caught.value.hint


def test_a_token_of_another_project_is_refused(ran: Any) -> None:
    ran.cloud = cloud(networks=(network(99),))
    ran.deployment = {"resources": [NETWORK, {**SERVER, "id": "42", "outputs": {"id": "42"}}]}
    with pytest.raises(StackError, match="neither the network nor any server"):
        recover.recover("lab", Path())
    assert not [words for words in ran.words if words[1] == "refresh"]


@pytest.mark.parametrize(("text", "held"), [("", True), ("dead", False), ("mine", True)])
def test_only_the_lock_of_a_dead_process_is_given_up(
    ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, held: bool
) -> None:
    folder = tmp_path / ".pulumi/locks/organization/bastide/lab"
    folder.mkdir(parents=True)
    dead = json.dumps({"pid": 2**22 + 1, "hostname": socket.gethostname()})
    mine = json.dumps({"pid": os.getpid(), "hostname": socket.gethostname()})
    (folder / "a.json").write_text(dead)
    (folder / "b.json").write_text({"dead": dead, "mine": mine}.get(text, text))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    if held:
        with pytest.raises(StackError, match="another `pulumi up`"):
            recover.recover("lab", tmp_path)
    else:
        ran.cloud = cloud()
        recover.recover("lab", tmp_path)
    assert (["pulumi", "cancel", "--yes", "--stack", "lab"] in ran.words) is not held


def test_a_stack_of_existing_servers_asks_no_provider(ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no token, and nothing at the provider to mend."""
    ran.deployment = {"resources": [{"type": "pulumi:pulumi:Stack", "urn": "urn:stack"}]}
    ran.settings = SimpleNamespace(made={}, lab=None)
    monkeypatch.setattr(recover, "open_config", lambda stack, root: pytest.fail("the provider was asked"))
    recover.recover("lab", Path())


@pytest.mark.parametrize(("lab", "hint"), [(object(), "make down"), (None, "import.md")])
def test_servers_that_an_empty_state_knows_nothing_of_are_refused(ran: Any, lab: object, hint: str) -> None:
    """A clone that was deleted and made anew while its local cloud is up, or a state that is lost."""
    ran.deployment = {"resources": [{"type": "pulumi:pulumi:Stack", "urn": "urn:stack"}]}
    ran.settings = SimpleNamespace(made={"primary": None, "standby": None}, lab=lab)
    with pytest.raises(StackError, match="primary: made already") as caught:
        recover.recover("lab", Path())
    assert hint in caught.value.hint
    ran.cloud = cloud()
    recover.recover("lab", Path())
