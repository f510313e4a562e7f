"""Wrong stack files and the exact words that a user reads: all mistakes at once, each with its place."""

from __future__ import annotations

import copy
import functools
import runpy
from pathlib import Path
from typing import Any

import pytest

from bastide.controls import CONTROLS
from bastide.errors import SettingsError, StackError
from bastide.settings import Settings
from bastide.stackfile import load, parse, read

EXAMPLE = Path(__file__).parents[3] / "stacks" / "Pulumi.example.yaml"
AUTOMATION = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIORS8Ni+k81A5+zX2kfnx+CtclOJClLDL3V1t1L26xlJ x"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyc/3X1YfISe8rdfYu6hHUaptbN500EWuVAieYWQhfw x"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEHmFMcXXcxRlqUfTpzdhyS0hCiKQ9E3Pt2kmZ8BYuTM x"


def example() -> dict[str, Any]:
    return copy.deepcopy(_read())


@functools.cache
def _read() -> dict[str, Any]:
    found: dict[str, Any] = _plain(load(EXAMPLE)["config"]["bastide:settings"])
    return found


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_plain(value) for value in data]
    return data


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    here: Any = data
    for part in parents:
        here = here[part]
    if value is REMOVED:
        del here[last]
    else:
        here[last] = value
    return data


REMOVED = "(removed)"
EXISTING = {
    "provider": "existing",
    "role": "primary",
    "hoster": "OVH",
    "city": "Gravelines",
    "country": "FR",
    "address": "192.0.2.17",
    "host_key": ED25519,
    "user": "debian",
    "mesh_address": "10.21.0.11",
}

WRONG = [
    ("ssh.port", 70000, "settings.ssh.port: must be at most 65535 (got 70000)"),
    ("ssh.port", 0, "settings.ssh.port: must be at least 1 (got 0)"),
    ("ssh.port", "22", "settings.ssh.port: must be a whole number (got 22)"),
    ("ssh.prot", 22, "settings.ssh.prot: is not a known key"),
    ("ssh.open_to", "all", "settings.ssh.open_to: must be one of 'operators', 'anywhere' or 'vpn' (got all)"),
    ("company", REMOVED, "settings.company: is required"),
    ("company.domain", "Example", "settings.company.domain: must be a domain name in lower case, like example.eu (got Example)"),
    (
        "network.range",
        "10.20.0.1/16",
        "settings.network.range: must be a network like 192.0.2.0/24 or 2001:db8::/48 (it has host bits set) "
        "(got 10.20.0.1/16)",
    ),
    ("firewall.operators", ["192.0.2.0/24", "2001:db8::%eth0/64"], "settings.firewall.operators.1: must have no zone id: leave out % and what follows (got 2001:db8::%eth0/64)"),
    ("network.range", "8.8.0.0/16", "settings.network: range must lie within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (RFC 1918)"),
    ("storage.endpoint", "http://fsn1.your-objectstorage.com", "settings.storage.endpoint: must be an address like https://fsn1.your-objectstorage.com: storage is asked over TLS only (got http://fsn1.your-objectstorage.com)"),
    ("alerts.mail.host", "smtp.example.eu:587", "settings.alerts.mail.host: must be a host alone, like smtp.example.eu: the port stands beside it (got smtp.example.eu:587)"),
    ("alerts.mail.host", "relay", "settings.alerts.mail.host: must be a host name in lower case with a dot, like smtp.example.eu (got relay)"),
    ("alerts.mail.port", 465, "settings.alerts.mail: port 465 does not speak starttls: it is 587 with starttls, 465 with tls"),
    ("alerts.mail.sender", "Alerts <alerts@example.eu>", "settings.alerts.mail.sender: must be a mail address alone, like alerts@example.eu (got Alerts <alerts@example.eu>)"),
    ("alerts.mail.recipients", ["a@example.eu\nBcc: b@example.eu"], "settings.alerts.mail.recipients.0: must be a mail address alone"),
    ("alerts.mail.recipients", ["a@example.eu", "a@example.eu"], "settings.alerts.mail: recipients names an address twice"),
    ("alerts", {"heartbeat": {}}, "settings.alerts: needs mail, webhook or both: nobody would hear of anything"),
    ("alerts.repeat_hours", 0, "settings.alerts.repeat_hours: must be at least 1"),
    ("storage.location", "hel1", "settings.storage: endpoint and location must be the same place (got fsn1.your-objectstorage.com and hel1)"),
    ("storage.buckets.example-backup.versioning", False, "settings.storage.buckets.example-backup: lock_days needs versioning: a lock holds versions"),
    ("storage.buckets.example-backup.expire_old_days", 7, "settings.storage.buckets.example-backup: expire_old_days must be at least lock_days (30): locked versions stay"),
    ("storage.buckets.a", {}, "settings.storage.buckets.a: must be 3 to 63 lower-case letters, digits and inner hyphens (got a)"),
    ("network.subnet", "10.99.0.0/24", "settings.network: subnet must lie within range"),
    ("firewall.operators", [], "settings.firewall.operators: must have at least 1 entry"),
    (
        "firewall.operators",
        ["198.51.100.10/33"],
        "settings.firewall.operators.0: must be a network like 192.0.2.0/24 or 2001:db8::/48 (it does not parse) "
        "(got 198.51.100.10/33)",
    ),
    (
        "servers.primary.location",
        "ash",
        "settings.servers.primary.location: lies in the United States, outside the EU; use one of fsn1, nbg1, hel1 (got ash)",
    ),
    ("servers.primary.location", "mars", "settings.servers.primary.location: must be one of fsn1, nbg1, hel1 (got mars)"),
    ("servers.primary.role", "boss", "settings.servers.primary.role: must be one of 'primary', 'standby' or 'witness' (got boss)"),
    ("servers.standby.location", "nbg1", "settings.servers: primary and standby must stand in two countries (all in DE)"),
    ("servers.standby.role", "primary", "settings.servers must have exactly one primary (got 2)"),
    ("servers.standby.role", "witness", "settings.servers must have one witness at most: it breaks ties (got 2)"),
    ("servers.standby.private_address", "10.20.0.11", "settings.servers.standby.private_address 10.20.0.11 is already that of primary"),
    ("servers.standby.private_address", "10.21.0.12", "settings.servers.standby.private_address must lie in network.subnet 10.20.0.0/24 (got 10.21.0.12)"),
    ("servers.standby.private_address", "10.20.0.1", "settings.servers.standby.private_address 10.20.0.1 is reserved (network, broadcast or gateway)"),
    ("servers.Primary", {}, "settings.servers.Primary: must be lower-case letters, digits and inner hyphens, at most 32, beginning with a letter (got Primary)"),
    ("users.removed", ["anna"], "settings.users: anna cannot be in both people and removed"),
    ("users.removed", ["bastide"], "settings.users: removed must not name the automation account: that would lock everyone out"),
    ("users.removed", ["root"], "settings.users: root: a name of Debian's own, and no person's; choose another"),
    ("users.automation.name", "daemon", "settings.users: daemon: a name of Debian's own, and no person's; choose another"),
    ("users.people.sudo", {"keys": [ED25519]}, "settings.users: sudo: a name of Debian's own, and no person's; choose another"),
    ("users.verification", {"keys": []}, "settings.users.verification.keys: must have at least 1 entry"),
    *(
        ("users.verification", {"name": name, "keys": [OTHER]}, f"settings.users: verification.name: {name} is {what}; choose another name")
        for name, what in (("anna", "a person"), ("bastide", "the automation account"), ("carla", "in removed"), ("sshd", "an account of the system"), ("postgres", "an account of the system"))
    ),
    ("users.verification", {"keys": [AUTOMATION]}, "settings.users: verify and bastide have the same key: a key belongs to one account"),
    ("users.automation.identity", "-----BEGIN OPENSSH PRIVATE KEY-----", "settings.users.automation.identity: is a private key itself; it names the file that one lies in"),
    ("firewall.operators", ["0.0.0.0/0"], "settings.firewall: operators: 0.0.0.0/0 is no network of operators: say ssh.open_to: anywhere for that"),
    ("firewall.operators", ["10.0.0.0/8", "::/1"], "settings.firewall: operators: ::/1 is no network of operators"),
    ("firewall.operators", ["192.0.2.0/24", "192.0.2.7"], "settings.firewall: operators: 192.0.2.0/24 and 192.0.2.7/32 overlap: name the larger one only"),
    ("firewall.operators", ["2001:db8::/48"], "settings.firewall: operators must hold an IPv4 network: deploys and checks reach the machines over IPv4"),
    ("company.security_contact", "me@example.org", "settings.company: security_contact must be an address on the company's own domain example.eu"),
    ("company.security_contact", "me@notexample.eu", "settings.company: security_contact must be an address on the company's own domain example.eu"),
    ("servers.prober", {"role": "standby", "location": "hel1", "private_address": "10.20.0.14"}, "settings.servers.prober: is taken by something else; choose another name"),
    ("users.people.anna.keys", [], "settings.users.people.anna.keys: must have at least 1 entry"),
    ("users.people.anna.keys", ["ssh-ed25519 AAAA"], "settings.users.people.anna.keys.0: is not a whole ssh public key: its middle part does not decode (a line cut off?) (got ssh-ed25519 AAAA)"),
    ("users.people.anna.keys", ["-----BEGIN OPENSSH PRIVATE KEY-----"], "settings.users.people.anna.keys.0: is a private key; the stack file holds public ones only (the .pub file)"),
    ("users.people.anna.keys", [ED25519], "settings.users: anna and bastide have the same key: a key belongs to one account"),
    ("users.automation.key", REMOVED, "settings.users.automation.key: is required"),
    ("base.journal.max_use_mb", 1, "settings.base.journal.max_use_mb: must be at least 64 (got 1)"),
    ("accounts.umask", 27, "settings.accounts.umask: must be one of '027' or '077' (got 27)"),
    ("accounts.umask", "022", "settings.accounts.umask: must be one of '027' or '077' (got 022)"),
    ("accounts.idle_minutes", 60, "settings.accounts.idle_minutes: must be at most 15 (got 60)"),
    ("accounts.password_length", 8, "settings.accounts.password_length: must be at least 14 (got 8)"),
    ("accounts.password_tries", 1, "settings.accounts.password_tries: must be at least 3 (got 1)"),
    ("accounts.lock_minutes", 0, "settings.accounts.lock_minutes: must be at least 15 (got 0)"),
    ("accounts.jobs", ["nobody-here"], "settings.accounts.jobs: nobody-here is not in users.people; name people who have an account"),
    ("accounts.jobs", ["anna\nroot"], "settings.accounts.jobs.0: must be lower-case letters, digits and inner hyphens, at most 32, beginning with a letter"),
    ("accounts.banner", " \n", "settings.accounts.banner: must be text of 1 to 1500 characters"),
    ("accounts.banner", "Debian \\v", "settings.accounts.banner: must have no backslash: agetty(8) would show names and versions in its place"),
    ("accounts.banner", "Zutritt nur für Befugte", "settings.accounts.banner: must be plain ASCII: a console shows it before it knows any language"),
    ("users.people.sugroup", {"keys": [ED25519]}, "settings.users: sugroup: a name of Debian's own, and no person's; choose another"),
    ("kernel.sysctl", {"tcp_syncookies": 1}, "settings.kernel.sysctl.tcp_syncookies: must be a name like net.ipv4.tcp_syncookies (`sysctl -a` prints them all)"),
    ("kernel.sysctl", {"nett.ipv4.tcp_syncookies": 1}, "settings.kernel.sysctl.nett.ipv4.tcp_syncookies: must begin with one of abi, debug, dev, fs, kernel, net, user, vm (`sysctl -a` prints them all)"),
    ("kernel.sysctl", {"net.ipv4.conf.all.rp_filter": 2}, "settings.kernel.sysctl.net.ipv4.conf.all.rp_filter: say net.ipv4.conf.*.rp_filter: it is for all, default and each interface"),
    ("kernel.sysctl", {"net.*.tcp_syncookies": 1}, "settings.kernel.sysctl.net.*.tcp_syncookies: may have * in the place of an interface only, like net.ipv4.conf.*.rp_filter"),
    ("kernel.sysctl", {"net.ipv4.conf.e*.rp_filter": 1}, "settings.kernel.sysctl.net.ipv4.conf.e*.rp_filter: may have * in the place of an interface only"),
    ("kernel.sysctl", {"kernel.sysrq": "0\nkernel.x = 1"}, "settings.kernel.sysctl.kernel.sysrq: must be a number, or words on one line with single spaces between"),
    ("kernel.sysctl", {"kernel.sysrq": True}, "settings.kernel.sysctl.kernel.sysrq: must be text (quote it) (got True)"),
    ("kernel.sysctl", {"net.ipv4.ip_forward": 1}, "settings.kernel.sysctl: net.ipv4.ip_forward follows from what is declared, and nothing has packets passed on: leave it out"),
    ("kernel.sysctl", {"net.ipv6.conf.eth0.forwarding": 1}, "settings.kernel.sysctl: net.ipv6.conf.eth0.forwarding follows from what is declared"),
    ("base.packages", "curl", "settings.base.packages: must be a list (got curl)"),
    ("firewall.public", [{"port": 22, "reason": "ssh"}], "settings.firewall.public opens the ssh port: say ssh.open_to: anywhere if that is meant"),
    ("wireguard.range", "10.20.7.0/24", "settings.wireguard.range 10.20.7.0/24 and network.range 10.20.0.0/16 overlap"),
    ("wireguard.range", "8.8.8.0/24", "settings.wireguard: range must lie within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (RFC 1918)"),
    ("wireguard.range", "2001:db8::/48", "settings.wireguard.range: must be an IPv4 network: private networks carry IPv4 only (got 2001:db8::/48)"),
    ("wireguard.range", "10.21.0.8/29", "settings.servers.standby.mesh_address must lie in wireguard.range 10.21.0.8/29 (got 10.21.0.20)"),
    ("wireguard.port", 22, "settings.wireguard.port: must be at least 1024 (got 22)"),
    ("wireguard.administrators.anna.key", "AAAA", "settings.wireguard.administrators.anna.key: must be a WireGuard public key: 44 characters, as `wg pubkey` prints it (got AAAA)"),
    ("wireguard.administrators.anna.address", "10.21.0.12", "settings.wireguard.administrators.anna.address 10.21.0.12 is already servers.standby.mesh_address"),
    ("wireguard.administrators.anna.address", "10.21.0.255", "settings.wireguard.administrators.anna.address 10.21.0.255 is reserved (network or broadcast)"),
    ("wireguard.administrators.anna.address", "10.22.0.5", "settings.wireguard.administrators.anna.address must lie in wireguard.range 10.21.0.0/24 (got 10.22.0.5)"),
    ("wireguard.administrators.bruno", {"key": "53lkLkQpddyGE82a1cXkqY2YHn1xBSOaKYx5bqIiCFo=", "address": "10.21.0.102"}, "settings.wireguard: administrators anna and bruno have the same key: a key belongs to one device"),
    ("servers.standby.mesh_address", "10.21.0.11", "settings.servers.standby.mesh_address 10.21.0.11 is already servers.primary.mesh_address"),
    ("servers.standby.mesh_address", "10.21.0.0", "settings.servers.standby.mesh_address 10.21.0.0 is reserved (network or broadcast)"),
    ("firewall.operators", ["198.51.100.10", "10.21.0.0/28"], "settings.firewall.operators: 10.21.0.0/28 overlaps wireguard.range 10.21.0.0/24: administrators are let in from the mesh by themselves"),
    ("firewall.public", [{"port": 51820, "protocol": "udp", "reason": "VPN"}], "settings.firewall.public names the port of wireguard, which is open by itself: 51820/udp"),
    ("wireguard", REMOVED, "settings.postgres needs wireguard: its parts speak to each other in the mesh only"),
    ("etcd.voters", ["primary", "witness"], "settings.etcd.voters must be an odd number, three or more (got 2): an even one survives no more losses than one fewer"),
    ("etcd.voters", ["witness"], "settings.etcd.voters must be an odd number, three or more (got 1): an even one survives no more losses than one fewer"),
    ("etcd.voters", ["primary", "standby", "wit"], "settings.etcd.voters must name the witness: it votes when the sites cannot agree"),
    ("etcd.voters", ["primary", "primary", "witness"], "settings.etcd.voters: 2 of 3 stand in Falkenstein: the majority would be lost with it"),
    ("etcd.volume_gb", 5, "settings.etcd.volume_gb: must be at least 10 (got 5)"),
    ("etcd.snapshot_days", 0, "settings.etcd.snapshot_days: must be at least 1 (got 0)"),
    ("postgres.durability", "eventual", "settings.postgres.durability: must be one of 'zero-loss' or 'fast' (got eventual)"),
    ("postgres.without_standby", "wait", "settings.postgres.without_standby: must be one of 'continue' or 'stop' (got wait)"),
    ("postgres", {"durability": "fast", "without_standby": "stop"}, "settings.postgres: without_standby: stop belongs to durability zero-loss: with fast nothing waits"),
    ("postgres.max_failover_lag_mb", 0, "settings.postgres.max_failover_lag_mb: must be at least 1 (got 0)"),
    ("postgres.max_failover_lag_mb", 2048, "settings.postgres.max_failover_lag_mb: must be at most 1024 (got 2048)"),
    ("postgres.replica_reads.max_standby_streaming_delay_seconds", 0, "settings.postgres.replica_reads.max_standby_streaming_delay_seconds: must be at least 1 (got 0)"),
    ("postgres.replica_reads.max_standby_streaming_delay_seconds", 90000, "settings.postgres.replica_reads.max_standby_streaming_delay_seconds: must be at most 86400 (got 90000)"),
    ("postgres.max_connections", 100, "settings.postgres.max_connections must be at least 136 for what all databases' connections come to on 2 sites (got 100); raise it or lower connections"),
    ("postgres.max_connections", 5, "settings.postgres.max_connections: must be at least 20 (got 5)"),
    ("postgres.databases.app.roles", {}, "settings.postgres.databases.app.roles: must have at least 1 entry"),
    ("postgres.databases.app.roles", {"a": "reader"}, "settings.postgres.databases.app: roles must have exactly one owner (got 0)"),
    ("postgres.databases.app.roles", {"a": "owner", "b": "owner"}, "settings.postgres.databases.app: roles must have exactly one owner (got 2)"),
    ("postgres.databases.app.roles", {"a": "admin"}, "settings.postgres.databases.app.roles.a: must be one of 'owner', 'writer' or 'reader' (got admin)"),
    *(
        ("postgres.databases.app.roles", {name: "owner"}, f"settings.postgres.databases.app.roles.{name}: is a name of PostgreSQL's or the platform's own; choose another (got {name})")
        for name in ("postgres", "Replicator", "rewinder", "public", "none", "pg_read_all_data")
    ),
    *(
        ("postgres.databases.app.roles", {name: "owner"}, f"settings.postgres.databases.app.roles.{name}: must be letters, digits, underscores, dots and hyphens, at most 63, beginning with a letter or underscore")
        for name in ("9lives", 'a"b', "a b", "a'b", "é", "a" * 64, "a\n")
    ),
    ("postgres.databases.app.extensions", ["postgis"], "settings.postgres.databases.app.extensions.0: must be one of btree_gin, btree_gist, citext, "),
    ("postgres.databases.app.extensions", ["pg_trgm", "pg_trgm"], "settings.postgres.databases.app: extensions names one twice"),
    ("postgres.databases.app.extensions", ["earthdistance", "cube"], "settings.postgres.databases.app: extensions: earthdistance needs cube: name it before"),
    ("postgres.databases.app.connections", 0, "settings.postgres.databases.app.connections: must be at least 1 (got 0)"),
    ("postgres.databases.app.password", "x", "settings.postgres.databases.app.password: is not a known key"),
    *(
        (f"postgres.databases.{name}", {"roles": {"a": "owner"}}, f"settings.postgres.databases.{name}: is a name of PostgreSQL's or the platform's own; choose another (got {name})")
        for name in ("template1", "postgres", "app_replica", "pgbouncer", "all", "replication")
    ),
    ("postgres.databases.a b", {"roles": {"a": "owner"}}, "settings.postgres.databases.a b: must be letters, digits, underscores, dots and hyphens"),
    (f"postgres.databases.{'a' * 56}", {"roles": {"a": "owner"}}, f"settings.postgres.databases.{'a' * 56}: must have at most 55 characters: its replicas are reached as NAME_replica"),
    ("protection", "yes", "settings.protection: must be true or false (got yes)"),
]  # fmt: skip


WRONG_EXISTING = [
    ({"provider": "ovh"}, "settings.servers.primary.provider: must be hetzner or existing (got ovh)"),
    ({"location": "fsn1"}, "settings.servers.primary.location: belongs to servers of provider hetzner, this one is existing"),
    ({"private_address": "10.20.0.11"}, "settings.servers.primary.private_address: belongs to servers of provider hetzner, this one is existing"),
    ({"hots_key": ED25519}, "settings.servers.primary.hots_key: is not a known key"),
    ({"host_key": REMOVED}, "settings.servers.primary.host_key: is required"),
    ({"host_key": "ssh-rsa AAAAB3NzaC1yc2E="}, "settings.servers.primary.host_key: says ssh-rsa outside but holds another kind of key inside"),
    ({"host_key": "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIG540gUHism/JgBPUdTQKEPUH1ECuHCbgcCLRpL7O5vsAAAABHNzaDo="}, "settings.servers.primary.host_key: must be the ed25519 host key: /etc/ssh/ssh_host_ed25519_key.pub on the machine"),
    ({"host_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "settings.servers.primary.host_key: is a private key; the stack file holds public ones only (the .pub file)"),
    ({"address": "10.0.0.7"}, "settings.servers.primary.address: must be a public address: nobody outside reaches this one (got 10.0.0.7)"),
    ({"address": "box.example.eu"}, "settings.servers.primary.address: must be an IPv4 address like 192.0.2.17 (got box.example.eu)"),
    ({"address6": "fd00::1"}, "settings.servers.primary.address6: must be a public address: nobody outside reaches this one (got fd00::1)"),
    ({"address6": "192.0.2.17"}, "settings.servers.primary.address6: must be an IPv6 address like 2001:db8::17 (got 192.0.2.17)"),
    ({"country": "US"}, "settings.servers.primary.country: must be a country of the EU by its ISO 3166-1 code in capitals, like FR (got US)"),
    ({"country": "fr"}, "settings.servers.primary.country: must be a country of the EU by its ISO 3166-1 code in capitals, like FR (got fr)"),
    ({"city": "7"}, "settings.servers.primary.city: must be the name of a city, at most 40 characters (got 7)"),
    ({"user": "De Bian"}, "settings.servers.primary.user: must be lower-case letters, digits and inner hyphens"),
    ({"mesh_address": REMOVED}, "settings.servers.primary.mesh_address is required: a server that somebody else made has no place of its own in wireguard.range 10.21.0.0/24"),
    ({"port": 0}, "settings.servers.primary.port: must be at least 1 (got 0)"),
    ({"country": "FI", "city": "Tampere"}, "settings.servers: primary and standby must stand in two countries (all in FI)"),
    ({"country": "DE", "city": "Nuremberg"}, "settings.servers: the witness must stand in a location of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG_EXISTING, ids=[str(change)[:40] for change, _ in WRONG_EXISTING])
def test_each_mistake_on_an_existing_server_is_said(change: dict[str, Any], message: str) -> None:
    server = {key: value for key, value in {**EXISTING, **change}.items() if value is not REMOVED}
    with pytest.raises(SettingsError) as caught:
        parse(put(example(), "servers.primary", server), "file")
    said = [line.removeprefix("file: ") for line in caught.value.mistakes]
    assert any(line.startswith(message) for line in said), said
    assert not any("PRIVATE KEY" in line or ".existing." in line for line in said)


def test_keys_of_an_existing_server_do_not_belong_to_one_that_is_made() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(put(example(), "servers.primary.address", "192.0.2.17"), "file")
    assert caught.value.mistakes == [
        "file: settings.servers.primary.address: belongs to servers of provider existing, this one is hetzner"
    ]


def test_two_existing_servers_share_nothing() -> None:
    data = put(example(), "servers.primary", EXISTING)
    theirs = {"role": "standby", "country": "PL", "city": "Warsaw", "mesh_address": "10.21.0.12"}
    data["servers"]["standby"] = {**EXISTING, **theirs}
    with pytest.raises(SettingsError) as caught:
        parse(data, "file")
    assert caught.value.mistakes == [
        f"file: settings.servers.standby.{key} is already that of primary" for key in ("address", "host_key")
    ]


def test_ssh_over_the_mesh_alone_needs_somebody_in_it() -> None:
    for path, value in (("wireguard", REMOVED), ("wireguard.administrators", {})):
        data = put(put(put(example(), "postgres", REMOVED), "ssh.open_to", "vpn"), path, value)
        with pytest.raises(SettingsError) as caught:
            parse(data, "file")
        assert caught.value.mistakes == [
            "file: settings.ssh.open_to: vpn needs wireguard with an administrator, or nobody would get in"
        ]


def test_further_replicas_follow_and_vote_in_odd_numbers_only() -> None:
    data = put(example(), "servers.third", {"role": "standby", "location": "fsn1", "private_address": "10.20.0.14"})
    assert parse(data, "file").etcd_members == ("primary", "standby", "witness")
    data["servers"]["fourth"] = {"role": "standby", "location": "hel1", "private_address": "10.20.0.15"}
    with pytest.raises(SettingsError, match=r"must be at least 262 .* on 4 sites"):
        parse(data, "file")
    data["postgres"]["max_connections"] = 290
    five = ["primary", "standby", "third", "fourth", "witness"]
    assert parse(put(data, "etcd.voters", five), "file").etcd_members == tuple(five)
    with pytest.raises(SettingsError, match="must be an odd number, three or more \\(got 4\\)"):
        parse(put(data, "etcd.voters", five[1:]), "file")


def test_a_servers_place_in_the_mesh_is_that_in_its_private_subnet() -> None:
    data = put(
        put(example(), "servers.primary.mesh_address", "10.21.0.99"), "servers.standby.private_address", "10.20.0.7"
    )
    assert parse(data, "file").mesh == {"primary": "10.21.0.99", "standby": "10.21.0.7", "witness": "10.21.0.13"}
    assert parse(put(put(data, "postgres", REMOVED), "wireguard", REMOVED), "file").mesh == {}


def test_an_existing_server_is_known_by_its_host_key() -> None:
    one = parse(put(example(), "servers.primary", EXISTING), "file").existing["primary"]
    commented = {**EXISTING, "host_key": f"{ED25519} root@vps-1234"}
    assert parse(put(example(), "servers.primary", commented), "file").existing["primary"].id == one.id
    assert one.id.startswith("existing_")
    assert "-" not in one.id, "a record's alias ends with the id, behind a hyphen"
    assert (one.location, one.place.country_name) == ("fr-gravelines", "France")


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[f"{path}={value!r:.20}" for path, value, _ in WRONG])
def test_each_mistake_is_said_with_place_expectation_and_value(path: str, value: Any, message: str) -> None:
    data = put(example(), path, value)
    if path == "users.people.anna.keys" and value == [ED25519]:
        data["users"]["automation"]["key"] = ED25519
    with pytest.raises(SettingsError) as caught:
        parse(data, "file")
    said = [line.removeprefix("file: ") for line in caught.value.mistakes]
    assert any(line.startswith(message) for line in said), said
    assert not any("PRIVATE KEY" in line for line in said), "a secret pasted by mistake is not repeated"


def test_all_mistakes_are_shown_at_once() -> None:
    data = put(put(example(), "ssh.port", 70000), "company.domain", "-")
    with pytest.raises(SettingsError) as caught:
        parse(data, "file")
    assert len(caught.value.mistakes) == 2


def test_the_example_is_valid_and_the_model_is_frozen() -> None:
    settings = read(EXAMPLE)
    assert isinstance(settings, Settings)
    with pytest.raises(Exception, match="frozen"):
        settings.ssh.port = 23  # type: ignore[misc]


def test_a_mistake_in_a_file_carries_its_line(tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace("      port: 22\n", "      port: 70000\n", 1)
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    line = text.splitlines().index("      port: 70000") + 1
    with pytest.raises(SettingsError) as caught:
        read(file)
    assert caught.value.mistakes == [f"{file}:{line}: settings.ssh.port: must be at most 65535 (got 70000)"]


def test_mistakes_between_areas_carry_their_lines_each(tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace("      voters: []\n", "      voters: [primary, standby]\n", 1)
    text = text.replace("private_address: 10.20.0.12", "private_address: 10.20.0.11", 1)
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("10.20.0.11")]
    voters = text.splitlines().index("      voters: [primary, standby]") + 1
    with pytest.raises(SettingsError) as caught:
        read(file)
    places = [mistake.removeprefix(f"{file}:").partition(": ")[0] for mistake in caught.value.mistakes]
    assert places[0] == str(lines[1]), caught.value.mistakes
    assert places[-2:] == [str(voters)] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("    ssh:\n", "    company: {}\n    ssh:\n"), "a key may stand once"),
        (("config:\n", "config: [\n"), "is not YAML"),
        (("\n      port: 22\n", f"\n      port: {'2' * 5000}\n"), "cannot be read"),
        (("name: Example Works\n", "name: 2026-13-45\n"), "cannot be read"),
        (("config:\n", "config:\n  hcloud:token: abc\n"), "hcloud:token: must be a secret"),
        (("config:\n", "config:\n  bastide:secrets:\n    master: {v1: abc}\n"), "bastide:secrets: must be a secret"),
        (("config:\n", "config:\n  bastide:setings: {}\n"), "bastide:setings: is not a known key"),
        (("config:\n", "config:\n  hcloud:tokne: abc\n"), "hcloud:tokne: is not a known key"),
    ],
)
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(EXAMPLE.read_text().replace(*change, 1))
    with pytest.raises(SettingsError, match=message) as caught:
        read(file)
    assert str(file) in caught.value.message


def test_a_missing_file_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(StackError) as caught:
        read(tmp_path / "Pulumi.none.yaml")
    assert "Pulumi.example.yaml" in caught.value.hint


def shape(*servers: str, **changes: Any) -> Settings:
    """The example with these of its servers alone."""
    data = example()
    data["servers"] = {name: data["servers"][name] for name in servers}
    for path, value in changes.items():
        put(data, path.replace("__", "."), value)
    return parse(data, "file")


@pytest.mark.parametrize(
    ("servers", "members", "administrator"),
    [
        (("primary",), ("primary",), "primary"),
        (("primary", "standby"), ("primary",), "primary"),
        (("primary", "witness"), ("primary",), "primary"),
        (("primary", "standby", "witness"), ("primary", "standby", "witness"), "primary"),
    ],
)
def test_any_number_of_servers(servers: tuple[str, ...], members: tuple[str, ...], administrator: str) -> None:
    settings = shape(*servers)
    assert (settings.etcd_members, settings.etcd_administrator) == (members, administrator)
    spoken_of = {one.id for one in CONTROLS if one.needs(settings)}
    assert ("postgres-01" in spoken_of) == ("standby" in servers)
    assert ("postgres-07" in spoken_of) == ("etcd-01" in spoken_of) == (len(members) == 3)
    assert ("wireguard-04" in spoken_of) == (len(servers) > 1)


def test_voters_are_administered_from_a_server_with_databases() -> None:
    assert (
        shape("primary", "standby", "witness", etcd__voters=["standby", "primary", "witness"]).etcd_administrator
        == "standby"
    )
    with pytest.raises(SettingsError, match="must name a server with databases"):
        shape("primary", "witness", etcd__voters=["witness"])


def test_who_waits_for_nobody_could_wait_for_ever() -> None:
    with pytest.raises(SettingsError, match="stop needs a standby: nobody could ever write"):
        shape("primary", postgres__without_standby="stop")


def test_what_nobody_would_hear_of_is_said_and_is_no_mistake() -> None:
    apart = {"wireguard": None, "postgres": None, "ssh__open_to": "operators"}
    assert shape("primary", "standby", "witness").unheard == []
    assert shape("primary", alerts=None).unheard == []
    (all_,) = shape("primary", "standby", "witness", alerts__heartbeat=None).unheard
    assert "nobody hears of it when all servers are gone at once" in all_
    (alone,) = shape("primary", **apart, alerts__heartbeat=None).unheard
    assert "nobody hears of it when its only server is gone" in alone
    (blind,) = shape("primary", "standby", **apart).unheard
    assert "each tells of itself, and of another one only that it does not answer a ping" in blind


def test_check_says_it_below_its_own_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    text = EXAMPLE.read_text().replace("        every_minutes: 5\n", "")
    file.write_text(text.replace("      heartbeat:\n", "      heartbeat: null\n"))
    monkeypatch.setattr("sys.argv", ["bastide", "check", str(file)])
    with pytest.raises(SystemExit):
        runpy.run_module("bastide", run_name="__main__")
    said = capsys.readouterr()
    assert "no mistake (3 servers" in said.out
    assert said.err.startswith("! alerts: nobody hears of it when all servers are gone at once")
