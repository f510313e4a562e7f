"""The Pulumi program under mocks: what it would ask the provider for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pulumi.runtime import mocks as pulumi_mocks
from pydantic import SecretStr

from bastide.settings import ExistingServer, Settings
from bastide.stackfile import read

EXAMPLE = Path(__file__).parents[3] / "stacks" / "Pulumi.example.yaml"
MASTER = "11" * 32
STORAGE_SECRET = "canary-of-the-storage"
# how the engine's wire format marks a secret (pulumi SDK, runtime/rpc.py, _special_sig_key)
SECRET_MARK = "4dabf18193072939515e22adb298388d"
Asked = dict[str, list[pulumi_mocks.MockResourceArgs]]


class Recorder(pulumi_mocks.Mocks):
    """Answers like the provider does, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[pulumi_mocks.MockResourceArgs] = []

    def new_resource(self, args: pulumi_mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.asked.append(args)
        outputs = dict(args.inputs)
        if args.typ.endswith(":Volume"):
            outputs["linuxDevice"] = f"/dev/disk/by-id/scsi-0HC_Volume_{len(self.asked)}"
        if args.typ.endswith("PrimaryIp"):
            outputs["ipAddress"] = "198.18.0.10" if args.inputs["type"] == "ipv4" else "2001:db8:1:10::"
        return str(len(self.asked)), outputs

    def call(self, args: pulumi_mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Everything that the program asks for with the example's settings, by type."""
    return run_program(example())[0]


def run_program(
    settings: Settings, wanted: dict[str, int] | None = None, devices: dict[str, str] | None = None
) -> tuple[Asked, dict[str, tuple[str, str]]]:
    """What the program asks for with these settings, by type, and every server's public addresses.

    `wanted` are volumes; their devices are put into `devices`.
    """
    recorder = Recorder()
    addresses: dict[str, tuple[str, str]] = {}
    pulumi_mocks.set_mocks(recorder, project="bastide", stack="lab")
    from bastide.secrets import StorageKeys, keyring_from
    from stacks.dns import Dns, site_addresses
    from stacks.firewall import CloudFirewall
    from stacks.network import PrivateNetwork
    from stacks.servers import Servers
    from stacks.storage import ObjectStorage
    from stacks.volumes import Volumes

    def keep(found: dict[str, Any]) -> None:
        addresses.update({name: tuple(both) for name, both in found.items()})

    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        keyring = pulumi.Output.secret({"v1": MASTER}).apply(lambda masters: keyring_from("lab", masters))
        network = PrivateNetwork("network", settings) if settings.made else None
        firewall = CloudFirewall("firewall", settings) if settings.made else None
        servers = Servers("servers", settings, keyring, network, firewall)
        if settings.dns is not None:
            token = pulumi.Output.secret("another")
            Dns("dns", settings, settings.dns, site_addresses(settings, servers), token)
        if settings.storage is not None:
            keys = pulumi.Output.secret("").apply(lambda _: StorageKeys("access", SecretStr(STORAGE_SECRET)))
            ObjectStorage("storage", settings.storage, keys, protect=True)
        if wanted is not None:
            volumes = Volumes("volumes", wanted, servers, settings)
            pulumi.Output.all(**volumes.devices).apply((devices if devices is not None else {}).update)
        return pulumi.Output.all(**{name: pulumi.Output.all(*both) for name, both in servers.addresses.items()}).apply(
            keep
        )

    program()
    found: Asked = {}
    for item in recorder.asked:
        found.setdefault(item.typ.split(":")[-1], []).append(item)
    return found, addresses


def example() -> Settings:
    return read(EXAMPLE)


def with_existing(*names: str) -> Settings:
    """The example with these servers in the form of its comment."""
    servers = dict(example().servers)
    for name, country, city in zip(names, ("FR", "PL", "IT"), ("Gravelines", "Warsaw", "Milan"), strict=False):
        key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        servers[name] = ExistingServer(
            provider="existing",
            role=servers[name].role,
            hoster="OVH",
            city=city,
            country=country,
            address="192.0.2.1",
            host_key=key,
            user="debian",
        )
    return example().model_copy(update={"servers": servers})


def test_an_existing_server_is_left_alone_and_its_addresses_are_known() -> None:
    asked, addresses = run_program(with_existing("primary"))
    assert {item.inputs["name"] for item in asked["Server"]} == {"standby", "witness"}
    assert len(asked["PrimaryIp"]) == 4
    assert addresses["primary"] == ("192.0.2.1", "")
    assert addresses["standby"] == ("198.18.0.10", "2001:db8:1:10::1")
    records = {f"{item.inputs['name']}/{item.inputs['type']}": item.inputs["records"] for item in asked["ZoneRrset"]}
    assert records["primary/A"] == [{"value": "192.0.2.1"}]
    assert "primary/AAAA" not in records, "it has no IPv6 address"
    assert not [item for item in asked["Rdns"] if item.inputs["dnsPtr"].startswith("primary.")]


def test_a_stack_of_existing_servers_asks_the_provider_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_existing("primary", "standby", "witness").model_copy(update={"dns": None, "storage": None})
    asked, addresses = run_program(settings)
    assert set(asked) <= {"Servers", "pulumi:Stack", "Stack"}
    assert len(addresses) == 3


def test_an_existing_server_stands_in_the_output_as_any_other() -> None:
    from bastide.machines import machine_from
    from stacks.outputs import existing_machine

    settings = with_existing("primary")
    machine = machine_from(existing_machine("primary", settings.existing["primary"]))
    assert (machine.id, machine.place.city) == (settings.existing["primary"].id, "Gravelines")
    assert (machine.private_address, machine.address) == ("", "192.0.2.1")


def test_three_servers_in_three_locations(asked: Asked) -> None:
    servers = {item.inputs["name"]: item.inputs for item in asked["Server"]}
    assert {name: inputs["location"] for name, inputs in servers.items()} == {
        "primary": "fsn1",
        "standby": "hel1",
        "witness": "nbg1",
    }
    for inputs in servers.values():
        assert inputs["deleteProtection"] is inputs["rebuildProtection"] is True
        assert inputs["firewallIds"], "the firewall is given at creation, not attached later"
        assert "datacenter" not in inputs
        assert inputs["networks"][0]["subnetId"]


def test_addresses_outlive_servers(asked: Asked) -> None:
    addresses = [item.inputs for item in asked["PrimaryIp"]]
    assert len(addresses) == 6
    assert all(item["autoDelete"] is False and item["deleteProtection"] is True for item in addresses)


def test_user_data_makes_one_account_and_a_known_host_key(asked: Asked) -> None:
    secrets = [item.inputs["userData"] for item in asked["Server"]]
    assert all(SECRET_MARK in item for item in secrets), "it carries the bootstrap host key"
    texts = [item["value"] for item in secrets]
    documents = [json.loads(text.removeprefix("#cloud-config\n")) for text in texts]
    assert len({document["ssh_keys"]["ed25519_public"] for document in documents}) == 3
    for document in documents:
        assert [user["name"] for user in document["users"]] == ["bastide"]
        assert (document["disable_root"], document["ssh_pwauth"], document["ssh_genkeytypes"]) == (True, False, [])
    assert all(MASTER not in text for text in texts)


def test_the_cloud_firewall_opens_ssh_to_operators_only() -> None:
    from stacks.firewall import firewall_rules

    rules = firewall_rules(example())
    ssh = [rule for rule in rules if rule.port == "22"]
    assert [rule.source_ips for rule in ssh] == [["198.51.100.10/32", "2001:db8:ffff::10/128"]]
    others = [rule for rule in rules if rule not in ssh]
    assert {(rule.protocol, rule.port) for rule in others} == {("icmp", None), ("udp", "51820")}


@pytest.mark.parametrize(
    ("open_to", "port", "opened"),
    [
        ("operators", 22, {"22": "operators"}),
        ("operators", 2222, {"2222": "operators", "22": "operators"}),
        ("anywhere", 22, {"22": "anywhere"}),
        ("anywhere", 2222, {"2222": "anywhere", "22": "operators"}),
        ("vpn", 22, {"22": "operators"}),
        ("vpn", 2222, {"22": "operators"}),
    ],
)
def test_a_new_server_can_be_reached_by_operators_whatever_ssh_is_open_to(
    open_to: str, port: int, opened: dict[str, str]
) -> None:
    from stacks.firewall import firewall_rules

    settings = example()
    settings = settings.model_copy(update={"ssh": settings.ssh.model_copy(update={"open_to": open_to, "port": port})})
    rules = {rule.port: rule.source_ips for rule in firewall_rules(settings) if rule.protocol == "tcp"}
    names = {("0.0.0.0/0", "::/0"): "anywhere", tuple(settings.firewall.operators): "operators"}
    assert {number: names[tuple(sources)] for number, sources in rules.items()} == opened


def test_names_lead_to_both_sites_and_to_each_machine(asked: Asked) -> None:
    sets = {f"{item.inputs['name']}/{item.inputs['type']}": item.inputs for item in asked["ZoneRrset"]}
    assert set(sets) == {
        *("@/CAA", "@/TXT", "_dmarc/TXT"),
        *(f"{name}/{kind}" for name in ("@", "www", "primary", "standby", "witness") for kind in ("A", "AAAA")),
    }
    assert len(sets["www/AAAA"]["records"]) == 2, "the witness is no site"
    assert len(sets["witness/A"]["records"]) == 1
    assert sets["@/TXT"]["records"] == [{"value": '"v=spf1 -all"'}]
    assert sets["@/CAA"]["records"][0] == {"value": '0 issue "letsencrypt.org"'}


def test_each_address_has_its_machines_name(asked: Asked) -> None:
    names = sorted((item.inputs["ipAddress"], item.inputs["dnsPtr"]) for item in asked["Rdns"])
    assert {name for _, name in names} == {"primary.example.eu", "standby.example.eu", "witness.example.eu"}
    assert {ip for ip, _ in names} == {"198.18.0.10", "2001:db8:1:10::1"}
    assert len(names) == 6


def test_zones_are_protected_and_may_live_in_another_project(asked: Asked) -> None:
    (zone,) = asked["Zone"]
    assert (zone.inputs["mode"], zone.inputs["deleteProtection"]) == ("primary", True)
    (provider,) = asked["hcloud"]
    assert provider.inputs["token"][SECRET_MARK], "the token is a secret"
    of_zones = {str(item.provider) for item in [zone, *asked["ZoneRrset"]]}
    assert len(of_zones) == 1
    assert "dns-project" in of_zones.pop()
    # reverse names belong to the addresses, which stay with the servers
    assert all("dns-project" not in str(item.provider) for item in asked["Rdns"])


def test_a_volume_is_beside_its_server_and_known_when_it_is_attached() -> None:
    devices: dict[str, str] = {}
    asked, _ = run_program(with_existing("standby"), {"primary": 10, "standby": 10, "witness": 20}, devices)
    volumes = {item.name: item.inputs for item in asked["Volume"]}
    assert set(volumes) == {"primary-volume", "witness-volume"}, "one of somebody else gets none"
    assert [(one["size"], one["location"], one["format"]) for one in volumes.values()] == [
        (10, "fsn1", "ext4"), (20, "nbg1", "ext4"),
    ]  # fmt: skip
    assert all(one["deleteProtection"] for one in volumes.values())
    assert "serverId" not in volumes["primary-volume"], "the attachment says where it is"
    assert [item.inputs["automount"] for item in asked["VolumeAttachment"]] == [False, False]
    assert set(devices) == {"primary", "witness"}
    assert all(path.startswith("/dev/disk/by-id/scsi-0HC_Volume_") for path in devices.values())


def test_no_volume_is_asked_for_unless_it_is_wanted(asked: Asked) -> None:
    assert not {"Volume", "VolumeAttachment", "Volumes"} & set(asked)


@pytest.mark.parametrize("text", ["2001:db8:1:10::", "2001:db8:1:10::/64"])
def test_a_server_takes_the_first_address_of_its_prefix(text: str) -> None:
    from stacks.servers import first_address

    assert first_address(text) == "2001:db8:1:10::1"


def test_a_bucket_is_private_locked_and_over_tls_only(asked: Asked) -> None:
    (bucket,) = asked["S3Bucket"]
    assert bucket.inputs == {"bucket": "example-backup", "acl": "private", "objectLocking": True, "forceDestroy": False}
    (policy,) = asked["S3BucketPolicy"]
    (statement,) = json.loads(policy.inputs["policy"])["Statement"]
    assert statement["Effect"] == "Deny", "it allows nothing to anybody"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}
    (lifecycle,) = asked["IlmPolicy"]
    assert lifecycle.inputs["rules"] == [{"id": "old", "noncurrentVersionExpirationDays": 60.0}]
    assert "S3BucketVersioning" not in asked, "a lock has versioning on, and it cannot be suspended"


def test_the_storages_keys_are_secrets_and_nobodys_inputs(asked: Asked) -> None:
    (provider,) = asked["minio"]
    assert SECRET_MARK in provider.inputs["minioPassword"]
    assert SECRET_MARK in provider.inputs["minioUser"]
    (lock,) = asked["ObjectLock"]
    assert (lock.inputs["days"], lock.inputs["mode"]) == (30.0, "governance")
    assert STORAGE_SECRET not in str(lock.inputs)


def test_only_resources_that_hetzner_has_too(asked: Asked) -> None:
    # tests/rehearsal/test_storage.py counts the calls that they make
    known = {"minio", "S3Bucket", "S3BucketPolicy", "S3BucketVersioning", "IlmPolicy", "ObjectLock", "ObjectStorage"}
    used = {
        name for name, items in asked.items() if any("minio" in item.typ or "ObjectLock" in item.typ for item in items)
    }
    assert used <= known


def test_a_bucket_without_lock_gets_versioning_by_itself() -> None:
    from bastide.settings import Bucket
    from stacks.storage import _rules

    assert [rule.expiration for rule in _rules(Bucket(expire_days=7))] == ["7d"]
    assert _rules(Bucket()) == []


def test_the_pickled_provider_holds_no_key() -> None:
    from pulumi.dynamic.dynamic import serialize_provider

    from bastide.secrets import StorageKeys
    from stacks.object_lock import ObjectLockProvider

    before = serialize_provider(ObjectLockProvider())
    # what a provider has read at work stays out as well: a new instance is what gets pickled
    at_work = ObjectLockProvider()
    at_work._keys = StorageKeys("access", SecretStr(STORAGE_SECRET))
    assert serialize_provider(ObjectLockProvider()) == before
    assert STORAGE_SECRET.encode() not in base64.b64decode(before)
