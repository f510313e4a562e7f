"""Zones and record sets: the official client's verbs, what is refused, and what the name servers are told."""

from __future__ import annotations

from typing import Any

import pytest
from hcloud.zones import ZonePrimaryNameserver, ZoneRecord, ZoneRRSet

from lab.cloud.no_machines import serial_of
from tests.cloud.conftest import Api, wait_until

ZONE = {"name": "example.eu", "mode": "primary"}
RRSETS = "/zones/example.eu/rrsets"


def rrset(name: str, kind: str, *values: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "records": [{"value": value} for value in values], **more}


def test_life_of_a_zone(client: Any, api: Api) -> None:
    made = client.zones.create(name="example.eu", mode="primary", ttl=300, labels={"a": "b"})
    made.action.wait_until_finished()
    zone = client.zones.get("example.eu")
    assert (zone.id, zone.ttl, zone.mode, zone.status) == (made.zone.id, 300, "primary", "ok")
    assert zone.authoritative_nameservers.assigned[0] == "hydrogen.ns.hetzner.com."
    assert client.zones.get(str(zone.id)).name == "example.eu"
    assert {f"{one.name}/{one.type}" for one in zone.get_rrset_all()} == {"@/SOA", "@/NS"}
    zone.change_ttl(600).wait_until_finished()
    assert zone.update(labels={"c": "d"}).labels == {"c": "d"}
    zone.change_protection(delete=True).wait_until_finished()
    assert api.error("DELETE", "/zones/example.eu") == (423, "protected")
    zone.change_protection(delete=False).wait_until_finished()
    assert next(action.command for action in zone.get_actions()) == "create_zone"
    assert "$ORIGIN\texample.eu." in zone.export_zonefile().zonefile
    zone.delete().action.wait_until_finished()
    assert client.zones.get_all() == []
    assert api.machines.zones == {}


def test_life_of_a_record_set(client: Any, api: Api) -> None:
    zone = client.zones.create(name="example.eu", mode="primary").zone
    done = zone.create_rrset(name="www", type="A", ttl=120, records=[ZoneRecord("192.0.2.1", "first")])
    done.action.wait_until_finished()
    www = zone.get_rrset("www", "A")
    assert (www.id, www.ttl, www.records[0].comment) == ("www/A", 120, "first")
    www.add_rrset_records([ZoneRecord("192.0.2.2")]).wait_until_finished()
    www.update_rrset_records([ZoneRecord("192.0.2.2", "second")]).wait_until_finished()
    www.remove_rrset_records([ZoneRecord("192.0.2.1")]).wait_until_finished()
    assert [(one.value, one.comment) for one in zone.get_rrset("www", "A").records] == [("192.0.2.2", "second")]
    www.set_rrset_records([ZoneRecord("192.0.2.3")]).wait_until_finished()
    www.change_rrset_ttl(None).wait_until_finished()
    assert "www\t3600\tIN\tA\t192.0.2.3" in api.machines.zones["example.eu"]
    assert www.update_rrset(labels={"x": "y"}).labels == {"x": "y"}
    assert [one.id for one in zone.get_rrset_all(name="www")] == ["www/A"]
    www.change_rrset_protection(change=True).wait_until_finished()
    assert api.error("DELETE", f"{RRSETS}/www/A") == (423, "protected")
    www.change_rrset_protection(change=False).wait_until_finished()
    www.delete_rrset().action.wait_until_finished()
    assert api.error("GET", f"{RRSETS}/www/A") == (404, "not_found")
    # the first record makes a set, the last one takes it away
    path = f"{RRSETS}/new/TXT/actions"
    api.ok("POST", f"{path}/add_records", {"records": [{"value": '"a"'}]})
    api.ok("POST", f"{path}/remove_records", {"records": [{"value": '"a"'}]})
    assert api.error("GET", f"{RRSETS}/new/TXT") == (404, "not_found")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CAA", '0 issue ";"'),
        ("CAA", '0 issue "letsencrypt.org; validationmethods=http-01"'),
        ("CAA", '0 iodef "mailto:security@example.eu"'),
        ("TXT", '"v=spf1 -all"'),
        ("TXT", f'"{"x" * 255}" "{"y" * 255}"'),
        ("TXT", '"say \\"hello\\""'),
        ("MX", "10 mail.example.net."),
        ("CNAME", "www"),
        ("NS", "ns1.example.net."),
        ("SRV", "0 5 5060 sip.example.net."),
    ],
)
def test_values_that_are_taken(api: Api, kind: str, value: str) -> None:
    api.ok("POST", "/zones", ZONE)
    api.ok("POST", RRSETS, rrset("here", kind, value))
    assert value in api.machines.zones["example.eu"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "2001:db8::1"),
        ("A", "192.0.2.256"),
        ("A", "192.0.2.1 ; comment"),
        ("AAAA", "192.0.2.1"),
        ("CAA", "issue letsencrypt.org"),
        ("CAA", '256 issue ";"'),
        ("TXT", "not quoted"),
        ("TXT", '"not closed'),
        ("TXT", f'"{"x" * 256}"'),
        ("MX", "mail.example.net."),
        ("CNAME", "a b"),
        ("NS", ""),
        ("SRV", "0 5 sip.example.net."),
        ("ALIAS", "x"),
    ],
)
def test_values_that_are_refused(api: Api, kind: str, value: str) -> None:
    api.ok("POST", "/zones", ZONE)
    assert api.error("POST", RRSETS, rrset("here", kind, value)) == (422, "invalid_input")


@pytest.mark.parametrize(
    "order",
    [
        rrset("www.example.eu", "A", "192.0.2.1"),
        rrset("example.eu", "A", "192.0.2.1"),
        rrset("WWW", "A", "192.0.2.1"),
        rrset("www.", "A", "192.0.2.1"),
        rrset("a.*", "A", "192.0.2.1"),
        rrset("www", "A"),
        rrset("www", "A", "192.0.2.1", "192.0.2.1"),
        rrset("www", "A", "192.0.2.1", ttl=59),
        rrset("www", "CNAME", "a", "b"),
        rrset("taken", "CNAME", "a"),
        rrset("alias", "A", "192.0.2.1"),
        rrset("new", "SOA", "a. b. 1 2 3 4 5"),
    ],
)
def test_record_sets_that_are_refused(api: Api, order: dict[str, Any]) -> None:
    api.ok("POST", "/zones", {**ZONE, "rrsets": [rrset("taken", "A", "192.0.2.9"), rrset("alias", "CNAME", "taken")]})
    assert api.error("POST", RRSETS, order) == (422, "invalid_input")
    assert len(api.ok("GET", RRSETS)["rrsets"]) == 4


def test_what_exists_cannot_be_made_again(api: Api) -> None:
    api.ok("POST", "/zones", ZONE)
    assert api.error("POST", "/zones", ZONE) == (409, "uniqueness_error")
    api.ok("POST", RRSETS, rrset("www", "A", "192.0.2.1"))
    assert api.error("POST", RRSETS, rrset("www", "A", "192.0.2.2")) == (409, "uniqueness_error")


@pytest.mark.parametrize(
    "order",
    [
        {"name": "Example.eu", "mode": "primary"},
        {"name": "example.eu.", "mode": "primary"},
        {"name": "eu", "mode": "primary"},
        {"name": "example.eu"},
        {"name": "example.eu", "mode": "primary", "ttl": 1},
        {"name": "example.eu", "mode": "primary", "primary_nameservers": [{"address": "192.0.2.1"}]},
    ],
)
def test_zones_that_are_refused(api: Api, order: dict[str, Any]) -> None:
    assert api.error("POST", "/zones", order) == (422, "invalid_input")


def test_secondary_zones_are_not_here(client: Any, api: Api) -> None:
    order = {"name": "example.eu", "mode": "secondary", "primary_nameservers": [{"address": "192.0.2.1"}]}
    assert api.error("POST", "/zones", order) == (422, "unsupported_error")
    zone = client.zones.create(name="example.eu", mode="primary").zone
    path = "/zones/example.eu/actions/change_primary_nameservers"
    assert api.error("POST", path, {"primary_nameservers": []}) == (422, "incorrect_zone_mode")
    with pytest.raises(Exception, match="primary zone"):
        zone.change_primary_nameservers([ZonePrimaryNameserver("192.0.2.1")])


def test_a_zone_file_goes_in_and_comes_out(client: Any, api: Api) -> None:
    text = '$ORIGIN example.eu.\n$TTL 600\n@ IN A 192.0.2.1\nwww IN CNAME @\n@ IN TXT "a;b" "c"\n'
    zone = client.zones.create(name="example.eu", mode="primary", rrsets=[ZoneRRSet("old", "A", records=[
        ZoneRecord("192.0.2.7")])]).zone  # fmt: skip
    zone.import_zonefile(text).wait_until_finished()
    found = {one.id: [record.value for record in one.records] for one in zone.get_rrset_all()}
    assert found["@/A"] == ["192.0.2.1"]
    assert found["www/CNAME"] == ["@"]
    assert found["@/TXT"] == ['"a;b" "c"']
    assert len(found["@/NS"]) == 3
    assert "old/A" not in found
    exported = zone.export_zonefile().zonefile
    assert api.error("POST", "/zones/example.eu/actions/import_zonefile", {"zonefile": "www IN A"}) == (
        422,
        "invalid_input",
    )
    second = {"name": "example.net", "mode": "primary", "zonefile": text.replace("example.eu", "example.net")}
    assert api.ok("POST", "/zones", second)["zone"]["record_count"] == exported.count("\tIN\t")


def test_the_serial_rises_with_each_change(api: Api) -> None:
    api.ok("POST", "/zones", ZONE)
    seen = [serial_of(api.machines.zones["example.eu"])]
    assert seen[0] > 2026_01_01_00
    for number in range(3):
        api.ok("POST", RRSETS, rrset(f"n{number}", "A", "192.0.2.1"))
        seen.append(serial_of(api.machines.zones["example.eu"]))
    assert sorted(set(seen)) == seen
    soa = api.ok("GET", f"{RRSETS}/@/SOA")["rrset"]["records"][0]["value"]
    assert soa.split()[2] == str(seen[-1])


def test_reverse_names_are_published_for_both_families(api: Api) -> None:
    server = api.server()
    four, six = server["public_net"]["ipv4"]["ip"], server["public_net"]["ipv6"]["ip"].split("/")[0] + "1"
    wait_until(lambda: four in api.machines.pointers)
    assert api.machines.pointers[four].endswith(".clients.your-server.de")
    for ip in (four, six):
        change = {"ip": ip, "dns_ptr": "web.example.eu"}
        api.done(api.ok("POST", f"/servers/{server['id']}/actions/change_dns_ptr", change)["action"])
    assert {api.machines.pointers[four], api.machines.pointers[six]} == {"web.example.eu"}
    api.ok("DELETE", f"/servers/{server['id']}")
    wait_until(lambda: api.machines.pointers == {})


def test_name_servers_that_fail_end_the_action_and_a_restart_mends(api: Api) -> None:
    api.machines.failing.add("publish_zones")
    made = api.ok("POST", "/zones", ZONE)
    assert api.done(made["action"])["status"] == "error"
    api.machines.failing.clear()
    api.restart()
    wait_until(lambda: "example.eu" in api.machines.zones)
