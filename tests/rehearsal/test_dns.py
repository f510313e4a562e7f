"""Names: served for real, silent the second time, imported as the how-to says, never lost by a slip of the editor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import hcloud
import pytest
from hcloud.zones import ZoneRecord, ZoneRRSet

from bastide.console import run
from bastide.stackfile import load
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "flow"

ZONE = "example.eu"
FOREIGN = "imported.example"
LONG = 'say "hello"; back\\slash; ' + "x" * 300


@pytest.fixture
def with_dns(rehearsal: Rehearsal) -> Iterator[Callable[[Callable[[Any], None]], Any]]:
    """Changes `settings.dns` for a block (a function gets it and changes it), and makes all as before afterwards."""

    @contextmanager
    def changed(change: Callable[[Any], None]) -> Iterator[None]:
        wanted = declared_dns(rehearsal)
        change(wanted)
        with rehearsal.settings_changed("dns", wanted):
            yield

    yield changed
    up(rehearsal)


def declared_dns(rehearsal: Rehearsal) -> Any:
    """The stack file's `dns`, as plain data without the comments that would go with it to wrong places."""
    return json.loads(json.dumps(load(rehearsal.file)["config"]["bastide:settings"]["dns"]))


def up(rehearsal: Rehearsal) -> None:
    rehearsal.pulumi("up", "--yes", "--skip-preview")


def assert_silent(rehearsal: Rehearsal) -> None:
    """A preview shows nothing, nor does one that has asked the provider."""
    for words in (("preview",), ("preview", "--refresh")):
        done = rehearsal.pulumi(*words, "--expect-no-changes", check=False)
        assert done.ok, done.stdout[-2000:]


def dig(rehearsal: Rehearsal, *words: str) -> set[str]:
    return set(rehearsal.exec("prober", f"dig +short {' '.join(words)}").stdout.splitlines())


def test_names_resolve_inside_and_outside(rehearsal: Rehearsal) -> None:
    sites = [machine for machine in rehearsal.inventory() if machine.role != "witness"]
    wanted = {address for machine in sites for address in (machine.address, machine.address6)}
    for machine in ("prober", "witness"):
        found = rehearsal.exec(machine, f"getent ahostsv4 www.{ZONE}; getent ahostsv6 www.{ZONE}").stdout
        # ahostsv6 also gives IPv4 addresses in IPv6 clothes where there is no other; here there is
        assert {line.split()[0] for line in found.splitlines()} == wanted
    assert dig(rehearsal, f"{ZONE} TXT") == {'"v=spf1 -all"'}
    assert dig(rehearsal, f"{ZONE} NS") == {
        "hydrogen.ns.hetzner.com.",
        "oxygen.ns.hetzner.com.",
        "helium.ns.hetzner.de.",
    }
    for machine_ in rehearsal.inventory():
        for address in (machine_.address, machine_.address6):
            assert dig(rehearsal, f"-x {address}") == {f"{machine_.name}.{ZONE}."}
    status = rehearsal.exec("prober", "dig nothing.example.org | grep -o 'status: [A-Z]*'").stdout
    assert status.strip() == "status: NXDOMAIN"


def test_the_second_preview_is_silent_whatever_the_texts_are(
    rehearsal: Rehearsal, with_dns: Callable[[Callable[[Any], None]], Any]
) -> None:
    assert_silent(rehearsal)

    def texts(dns: Any) -> None:
        dns["zones"][ZONE]["records"].append({"name": "long", "type": "TXT", "values": [LONG]})
        dns["zones"][ZONE]["records"].append({"name": "mail", "type": "MX", "values": ["10 mail.example.net."]})

    with with_dns(texts):
        up(rehearsal)
        assert_silent(rehearsal)
        rehearsal.verify("--control", "dns-04", "--evidence", str(rehearsal.build / "dns-evidence.json"))
        (answer,) = dig(rehearsal, f"+tcp long.{ZONE} TXT")
        pieces = answer.strip('"').split('" "')
        assert "".join(pieces).replace('\\"', '"').replace("\\\\", "\\") == LONG


@pytest.mark.full("provider")
def test_what_exists_is_imported_as_the_how_to_says(
    rehearsal: Rehearsal, with_dns: Callable[[Callable[[Any], None]], Any]
) -> None:
    endpoint = json.loads((rehearsal.build / "lab.json").read_text())["endpoint"]
    client = hcloud.Client(rehearsal.token(), api_endpoint=endpoint, poll_interval=0.05)
    by_hand = [
        ZoneRRSet("@", "CAA", records=[ZoneRecord('0 issue ";"')]),
        ZoneRRSet("old", "TXT", records=[ZoneRecord('"made by hand"')]),
    ]
    made = client.zones.create(name=FOREIGN, mode="primary", ttl=600, rrsets=by_hand)
    made.action.wait_until_finished()

    def declared(dns: Any) -> None:
        record = {"name": "old", "type": "TXT", "values": ["made by hand"]}
        dns["zones"][FOREIGN] = {"ttl": 600, "records": [record]}

    with with_dns(declared):
        plan = rehearsal.build / "import.json"
        rehearsal.pulumi("preview", "--import-file", str(plan))
        listed = json.loads(plan.read_text())
        for item in listed["resources"]:
            item["id"] = str(made.zone.id) if item["type"].endswith(":Zone") else item["name"]
        plan.write_text(json.dumps(listed))
        rehearsal.pulumi("import", "--yes", "--generate-code=false", "--protect=false", "--file", str(plan))
        # labels and protection are set in place; nothing is made anew or replaced
        steps = json.loads(rehearsal.pulumi("preview", "--json").stdout)["changeSummary"]
        assert set(steps) == {"same", "update"}
        up(rehearsal)
        assert_silent(rehearsal)
        assert client.zones.get(FOREIGN).id == made.zone.id
        assert client.zones.get(FOREIGN).protection == {"delete": True}
        refused_then_let_go(rehearsal, client)


def refused_then_let_go(rehearsal: Rehearsal, client: hcloud.Client) -> None:
    """A zone that goes from the stack file is refused while it is protected; with protection off it goes."""
    dns = declared_dns(rehearsal)
    del dns["zones"][FOREIGN]
    with rehearsal.settings_changed("dns", dns):
        done = rehearsal.make("infra", check=False)
        assert not done.ok
        assert f"zone {FOREIGN}: protected, and no longer in the stack file" in done.stderr
        assert len(client.zones.get(FOREIGN).get_rrset_all()) == 4
    with rehearsal.settings_changed("protection", False):
        rehearsal.make("infra")
        with rehearsal.settings_changed("dns", dns):
            rehearsal.make("infra")
    assert [zone.name for zone in client.zones.get_all()] == [ZONE]


@pytest.mark.full("provider")
def test_a_zone_is_destroyed_and_made_again(
    rehearsal: Rehearsal, with_dns: Callable[[Callable[[Any], None]], Any]
) -> None:
    """Replacement would meet its own name (a zone is made before its predecessor goes): so it is two steps."""
    before = rehearsal.api("GET", f"/v1/zones/{ZONE}")["zone"]["id"]
    with rehearsal.settings_changed("protection", False):
        up(rehearsal)
        urn = f"urn:pulumi:{rehearsal.stack}::bastide::bastide:index:Dns$hcloud:index/zone:Zone::{ZONE}"
        rehearsal.pulumi("destroy", "--yes", "--skip-preview", "--target", urn, "--target-dependents")
        assert rehearsal.api("GET", "/v1/zones")["zones"] == []
        assert dig(rehearsal, f"www.{ZONE}") == set()
    up(rehearsal)
    assert rehearsal.api("GET", f"/v1/zones/{ZONE}")["zone"]["id"] != before
    assert_silent(rehearsal)
    words = [word for number in range(1, 5) for word in ("--control", f"dns-0{number}")]
    rehearsal.verify(*words, "--evidence", str(rehearsal.build / "dns-evidence.json"))


@pytest.mark.full("provider")
@pytest.mark.parametrize("kind", ["Zone", "ZoneRrset"])
def test_what_a_killed_up_had_begun_is_taken_over(rehearsal: Rehearsal, kind: str) -> None:
    """The state as kill -9 leaves it: the resources exist, the state says that their making was begun."""
    backend = Path(urlparse(rehearsal.env["PULUMI_BACKEND_URL"]).path)
    # written past pulumi, whose own import drops pending operations
    file = backend / ".pulumi/stacks/bastide" / f"{rehearsal.stack}.json"
    state = json.loads(file.read_text())
    latest = state["checkpoint"]["latest"]
    found = [item for item in latest["resources"] if item["type"].endswith((f":{kind}", ":ZoneRrset"))]
    if kind == "ZoneRrset":
        found = [item for item in found if item["urn"].endswith(f"::{ZONE}/www/A")]
    latest["resources"] = [item for item in latest["resources"] if item not in found]
    begun = [{key: value for key, value in item.items() if key not in ("id", "outputs")} for item in found]
    latest["pending_operations"] = [{"type": "creating", "resource": item} for item in begun]
    file.write_text(json.dumps(state))
    done = rehearsal.make("infra")
    for item in found:
        assert f"{item['urn'].rsplit('::', 1)[1]}: exists at the provider as {item['id']}" in done.stdout
    assert_silent(rehearsal)


def test_a_name_server_that_died_is_back_with_the_next_up(rehearsal: Rehearsal) -> None:
    lab = json.loads((rehearsal.build / "lab.json").read_text())["id"]
    mine = f"{lab}/parties/names.root/nsd.conf".encode()
    pids = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if mine in _text(path)]
    assert pids
    # it is another user's
    run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), "kill", "-9", *pids])
    rehearsal.make("lab")
    wait_for(lambda: len(dig(rehearsal, f"www.{ZONE}")) == 2, "the name server is back")


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
