"""What a machine is told about itself: cloud-init's seed and Hetzner's metadata documents."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from bastide.errors import LabError
from lab.backend import MachineSpec, PrivateNic
from lab.machines import seed
from lab.machines.store import Plug

SPEC = MachineSpec(
    id=42,
    name="web",
    image="debian-13",
    cpus=2,
    memory_mb=4096,
    disk_gb=40,
    # a MAC that YAML 1.1 would read as a number in base 60
    public_mac="96:00:00:12:34:56",
    public4="198.18.0.10",
    public6="2001:db8:0:10::/64",
    user_data="#cloud-config\n{}\n",
    metadata={"region": "eu-central", "hostname": "web", "instance-id": "42"},
    ssh_keys=("ssh-ed25519 AAAA a: b #c",),
)


def test_network_is_hetzners(tmp_path: Path) -> None:
    seed.write(tmp_path, SPEC)
    config = yaml.safe_load((tmp_path / seed.SEED / "network-config").read_text())
    assert config["version"] == 1
    (card,) = config["config"]
    assert (card["type"], card["name"], card["mac_address"]) == ("physical", "eth0", "96:00:00:12:34:56")
    four, six = card["subnets"]
    assert (four["address"], four["gateway"]) == ("198.18.0.10/32", "172.31.1.1")
    assert (six["address"], six["gateway"]) == ("2001:db8:0:10::1/64", "fe80::1")


def test_one_family_or_none() -> None:
    only6 = yaml.safe_load("\n".join(seed.network_config(MachineSpec(**{**SPEC.__dict__, "public4": ""}))))
    assert [one["type"] for one in only6[0]["subnets"]] == ["static6"]
    none = MachineSpec(**{**SPEC.__dict__, "public4": "", "public6": ""})
    assert yaml.safe_load("\n".join(seed.network_config(none))) == []


def test_seed_is_for_root_only(tmp_path: Path) -> None:
    seed.write(tmp_path, SPEC)
    for path in (tmp_path / seed.SEED).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / seed.SEED / "user-data").read_text() == SPEC.user_data
    meta = yaml.safe_load((tmp_path / seed.SEED / "meta-data").read_text())
    assert meta == {"instance-id": "42", "local-hostname": "web", "public-keys": list(SPEC.ssh_keys)}


def test_metadata_document_is_yaml_with_hetzners_keys() -> None:
    found = yaml.safe_load(seed.metadata_document(SPEC))
    assert found["instance-id"] == 42
    assert found["hostname"] == "web"
    assert found["public-ipv4"] == "198.18.0.10"
    assert found["public-keys"] == list(SPEC.ssh_keys)
    assert found["network-config"]["config"][0]["mac_address"] == SPEC.public_mac


def test_private_networks_document() -> None:
    assert yaml.safe_load(seed.private_networks(())) == []
    nic = PrivateNic(7, "10.0.0.0/16", "10.0.1.2", "86:00:00:12:34:56", ("10.0.1.9",))
    (found,) = yaml.safe_load(seed.private_networks((Plug(nic, 1),)))
    assert found == {
        "ip": "10.0.1.2",
        "alias_ips": ["10.0.1.9"],
        "interface_num": 2,
        "mac_address": "86:00:00:12:34:56",
        "network_id": 7,
        "network": "10.0.0.0/16",
        "gateway": "10.0.0.1",
    }
    assert Plug(nic, 1).interface == "enp8s0"


def test_a_link_in_the_machine_does_not_lead_out_of_it(tmp_path: Path) -> None:
    """Its root may have made any link, and what is absolute in there is the host's own, seen from here."""
    root, host = tmp_path / "root", tmp_path / "host"
    for folder in (root / seed.SEED, host):
        folder.mkdir(parents=True)
    (host / "passwd").write_text("precious")
    (root / seed.SEED / "user-data").symlink_to(host / "passwd")
    seed.write(root, SPEC)
    assert (host / "passwd").read_text() == "precious"
    assert (root / seed.SEED / "user-data").read_text() == SPEC.user_data
    (root / "root").mkdir()
    (root / "root/.ssh").symlink_to(host)
    with pytest.raises(LabError, match="symbolic link"):
        seed.lay(root, "root/.ssh/authorized_keys", "key")
    assert [path.name for path in host.iterdir()] == ["passwd"]
