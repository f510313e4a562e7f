"""The mesh: who gets which key and peers at each step, what is set right, and that no key is shown."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretBytes, SecretStr

from bastide.errors import BastideError
from bastide.layout.wireguard import CONFIG
from bastide.mesh import machine_key, mesh_of, new_key
from bastide.secrets import Keyring
from deploys.facts.fact import Facts
from deploys.operations.files import File
from deploys.wireguard.deploy import needed, wanted_of
from deploys.wireguard.plan import Plan, Wanted, _View, plan_of
from tests.unit.deploys.box import MACHINES, SETTINGS, here

V1 = Keyring("unit", {"v1": SecretBytes(bytes(32))})
V2 = Keyring("unit", {"v1": SecretBytes(bytes(32)), "v2": SecretBytes(bytes([1] * 32))})
PRIMARY, STANDBY, WITNESS = MACHINES
MESH = mesh_of(SETTINGS) or pytest.fail("no mesh")
ADMINISTRATOR = "53lkLkQpddyGE82a1cXkqY2YHn1xBSOaKYx5bqIiCFo="


def by_facts(answers: dict[str, Any]) -> dict[str, Facts]:
    return {name: Facts(one) for name, one in answers.items()}


def wanted(machine: Any, ring: Keyring = V1, settings: Any = SETTINGS, **more: Any) -> Wanted:
    return wanted_of(here(machine, settings, keyring=ring, **more))


def fresh() -> Any:
    sizes = {"10.20.0.11": 1450, "10.20.0.12": 1450, "10.20.0.13": 1450}
    return {"wireguard": {"sizes": sizes, "kernel": True, "running": None}, "files": {CONFIG: None}}


def living(versions: dict[str, str], ring: Keyring = V2) -> dict[str, Any]:
    """What machines say that have these versions of their keys, and know each other by them."""
    keys = {one.name: machine_key(ring, one, versions[one.name]) for one in MACHINES}
    view = _View(MESH, wanted(PRIMARY).administrators, MACHINES, by_facts({one.name: fresh() for one in MACHINES}))
    answers = {}
    for one in MACHINES:
        peers = {
            peer["key"]: {"allowed": [f"{peer['address']}/32"], "endpoint": peer["endpoint"]}
            for peer in view._peers(one, keys)
        }
        running = {
            "key": keys[one.name].public,
            "port": 51820,
            "size": 1370,
            "addresses": [f"{MESH.machines[one.name]}/24"],
            "peers": peers,
        }
        answers[one.name] = fresh()
        answers[one.name]["wireguard"]["running"] = running
        answers[one.name]["files"] = {CONFIG: as_seen(view.file(one, keys))}
    return answers


def as_seen(file: File) -> dict[str, Any]:
    digest = hashlib.sha256(text_of(file).encode()).hexdigest()
    return {"sha256": digest, "mode": file.mode, "owner": "root", "group": "root"}


def text_of(file: File) -> str:
    assert isinstance(file.content, SecretStr)
    return file.content.get_secret_value()


def plan(machine: Any, answers: dict[str, Any], ring: Keyring = V1, settings: Any = SETTINGS) -> Plan:
    return plan_of(wanted(machine, ring, settings), by_facts(answers))


ALL_V1 = {one.name: "v1" for one in MACHINES}


def test_the_file_has_one_address_a_peer_and_the_way_there() -> None:
    (step,) = plan(PRIMARY, {one.name: fresh() for one in MACHINES}).steps
    text = text_of(step.file)
    assert "Address = 10.21.0.11/24\nListenPort = 51820\nMTU = 1370\n" in text
    assert text.count("AllowedIPs = ") == text.count("/32\n") == 3
    assert f"PublicKey = {machine_key(V1, STANDBY).public}\n" in text
    assert "AllowedIPs = 10.21.0.12/32\nEndpoint = 10.20.0.12:51820\n" in text
    assert f"PublicKey = {ADMINISTRATOR}\n" in text
    assert text.endswith("AllowedIPs = 10.21.0.101/32\n"), "where a person's device is, nobody knows"
    assert "PersistentKeepalive" not in text


def test_a_private_key_is_shown_nowhere() -> None:
    found = plan(PRIMARY, {one.name: fresh() for one in MACHINES})
    secret = machine_key(V1, PRIMARY).private.get_secret_value()
    assert secret in text_of(found.steps[0].file)
    assert found.steps[0].file.mode == 0o600
    assert secret not in repr(found) + str(found.steps[0].file.to_json())


def test_keys_are_another_for_each_machine_generation_and_master() -> None:
    keys = [machine_key(V2, one, version).public for one in MACHINES for version in ("v1", "v2")]
    keys.append(machine_key(V2, replace(PRIMARY, generation=2)).public)
    assert len(set(keys)) == 7
    assert machine_key(V2, PRIMARY).public == machine_key(V2, PRIMARY, "v2").public
    assert new_key().public != new_key().public


@pytest.mark.parametrize(
    ("sizes", "wanted"), [([1450, 1500], 1370), ([1400], 1320), ([9000], 1420), ([1300], 1280), ([], 1280)]
)
def test_a_packet_fits_through_the_narrowest_way(sizes: list[int], wanted: int) -> None:
    answers = {one.name: fresh() for one in MACHINES}
    answers["primary"]["wireguard"]["sizes"] = {str(number): size for number, size in enumerate(sizes)}
    assert f"\nMTU = {wanted}\n" in text_of(plan(PRIMARY, answers).steps[0].file)


def test_a_machine_at_another_provider_is_reached_at_public_addresses() -> None:
    abroad = replace(WITNESS, private_address="")
    answers = {one.name: fresh() for one in MACHINES}
    found = plan_of(wanted(PRIMARY, machines=(PRIMARY, STANDBY, abroad)), by_facts(answers))
    text = text_of(found.steps[0].file)
    assert f"Endpoint = {abroad.address}:51820\n" in text
    assert "Endpoint = 10.20.0.12:51820\n" in text


def test_nothing_is_done_when_all_is_as_declared() -> None:
    found = plan(PRIMARY, living(ALL_V1, V1))
    assert [step.drift for step in found.steps] == [""]
    assert not found.watched
    assert found.held_back == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda running: running["peers"].popitem(), "other peers"),
        (lambda running: running["peers"].update(x={"allowed": ["0.0.0.0/0"], "endpoint": ""}), "other peers"),
        (lambda running: running["peers"][ADMINISTRATOR].update(allowed=["0.0.0.0/0"]), "anna (administrator)"),
        (lambda running: next(iter(running["peers"].values())).update(endpoint="192.0.2.1:1"), "standby"),
        (lambda running: running.update(size=1420), "another size"),
        (lambda running: running.update(port=1, addresses=[]), "another port, addresses"),
    ],
)
def test_what_runs_is_compared(change: Any, says: str) -> None:
    answers = living(ALL_V1, V1)
    change(answers["primary"]["wireguard"]["running"])
    found = plan(PRIMARY, answers)
    assert says in found.steps[0].drift
    assert found.watched
    assert plan(STANDBY, answers).watched, "what one machine waits for, all do: the operations must be the same"


def test_where_a_device_came_from_last_is_no_drift() -> None:
    answers = living(ALL_V1, V1)
    answers["primary"]["wireguard"]["running"]["peers"][ADMINISTRATOR]["endpoint"] = "203.0.113.7:4242"
    assert plan(PRIMARY, answers).steps[0].drift == ""


def keys_in(file: File) -> set[str]:
    words = [line.split(" = ") for line in text_of(file).splitlines()]
    return {word[1] for word in words if word[0] in ("PublicKey", "PrivateKey")}


def test_new_keys_come_one_machine_at_a_time_witness_first_and_primary_last() -> None:
    answers = living(ALL_V1)
    steps = {one.name: plan(one, answers, V2).steps for one in MACHINES}
    titles = ["mesh", "new key of witness", "new key of standby", "new key of primary"]
    new = set[str]()
    for number, title in enumerate(titles):
        new |= {title.rpartition(" ")[2]} if number else set()
        for one in MACHINES:
            step = steps[one.name][number]
            assert step.title == title
            keys = {other: machine_key(V2, other, "v2" if other.name in new else "v1") for other in MACHINES}
            wanted = {key.public for other, key in keys.items() if other != one}
            assert keys_in(step.file) == {*wanted, keys[one].private.get_secret_value(), ADMINISTRATOR}
    assert all(plan(one, answers, V2).watched for one in MACHINES)


def test_a_rotation_that_was_killed_goes_on_where_it_stopped() -> None:
    answers = living({**ALL_V1, "witness": "v2"})
    # killed before this machine had heard of the witness' new key
    peers = answers["primary"]["wireguard"]["running"]["peers"]
    peers[machine_key(V2, WITNESS, "v1").public] = peers.pop(machine_key(V2, WITNESS, "v2").public)
    found = plan(PRIMARY, answers, V2)
    assert [step.title for step in found.steps] == ["mesh", "new key of standby", "new key of primary"]
    assert "other peers" in found.steps[0].drift
    assert machine_key(V2, WITNESS, "v2").public in keys_in(found.steps[0].file)
    assert [step.title for step in plan(PRIMARY, living(dict.fromkeys(ALL_V1, "v2")), V2).steps] == ["mesh"]


def test_while_not_all_machines_take_part_every_key_stays() -> None:
    answers = living({**ALL_V1, "witness": "v2"})
    del answers["witness"]
    found = plan(PRIMARY, answers, V2)
    assert [step.title for step in found.steps] == ["mesh"]
    assert found.held_back == ("standby", "primary")
    assert keys_in(found.steps[0].file) >= {
        machine_key(V2, WITNESS, "v2").public,
        machine_key(V2, STANDBY, "v1").public,
    }
    assert found.steps[0].drift == ""
    assert found.reached == ("10.21.0.12",)


def test_a_key_of_nobody_is_replaced_at_once_and_a_new_machine_joins() -> None:
    answers = living(ALL_V1, V1)
    answers["standby"]["wireguard"]["running"]["key"] = ADMINISTRATOR
    answers["witness"] = fresh()
    (step,) = plan(STANDBY, answers).steps
    assert "another key" in step.drift
    assert machine_key(V1, STANDBY).private.get_secret_value() in keys_in(step.file)


def test_without_a_mesh_what_is_left_of_one_goes() -> None:
    settings = SETTINGS.model_copy(update={"wireguard": None})
    (step,) = plan(PRIMARY, {one.name: fresh() for one in MACHINES}, settings=settings).steps
    assert (step.file.path, step.file.content) == (CONFIG, None)


@pytest.mark.parametrize(
    ("kernel", "names"),
    [(True, {"iputils-ping", "wireguard-tools"}), (False, {"iputils-ping", "wireguard-tools", "wireguard-go"})],
)
def test_the_program_comes_only_where_the_kernel_cannot(kernel: bool, names: set[str]) -> None:
    assert set(needed(kernel)) == names


def test_new_keys_do_not_cut_off_a_run_that_goes_over_the_mesh() -> None:
    with pytest.raises(BastideError, match="would cut off this run"):
        plan_of(wanted(PRIMARY, V2), by_facts(living(ALL_V1)), "10.21.0.11")
    plan_of(wanted(PRIMARY, V2), by_facts(living(ALL_V1)), PRIMARY.address)
    plan_of(wanted(PRIMARY, V1), by_facts(living(ALL_V1, V1)), "10.21.0.11")


def test_the_only_way_in_is_changed_under_a_guard() -> None:
    settings = SETTINGS.model_copy(update={"ssh": SETTINGS.ssh.model_copy(update={"open_to": "vpn"})})
    assert plan(PRIMARY, living(ALL_V1, V1), settings=settings).guarded
    assert not plan(PRIMARY, living(ALL_V1, V1)).guarded
