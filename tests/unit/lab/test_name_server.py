"""The lab's name server: its own zones, its serials, and what it is told when zones come and go."""

from __future__ import annotations

from pathlib import Path

import dns.zone
import pytest

from lab.place import Place
from lab.services import name_server, nsd

TEXT = "$ORIGIN example.eu.\n@ 60 IN SOA a. b. {} 1 1 1 1\n@ 60 IN NS a.\nwww 60 IN A 198.18.6.10\n"
POINTERS = {"198.18.7.10": "web.example.eu", "2001:db8:3:10::1": "web.example.eu"}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Place:
    """A lab whose name server is not asked for."""
    monkeypatch.setattr(nsd, "place", lambda here: Path("/"))
    monkeypatch.setattr(nsd, "has_database", lambda words: True)
    return Place("lab", "labx", 3)


def test_the_labs_ranges_are_its_reverse_zones(here: Place) -> None:
    assert name_server._reverse_zones(here) == [
        "6.18.198.in-addr.arpa",
        "7.18.198.in-addr.arpa",
        "3.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    ]


def test_every_file_is_a_zone_and_leads_to_the_name_server(here: Place) -> None:
    serials = name_server._write_all(here, {"example.eu": TEXT.format(7)}, POINTERS)
    assert serials["example.eu"] == 7
    folder = name_server.SERVICE.settings(here)
    zones = {path.stem: path.read_text() for path in folder.glob("*.zone")}
    assert len(zones) == len(serials) == 5
    parsed = {name: dns.zone.from_text(text, "." if name == "root" else name) for name, text in zones.items()}
    assert str(parsed["root"].find_rdataset("hydrogen.ns.hetzner.com", "A")[0]) == name_server.SERVICE.address(here)
    assert str(parsed["root"].find_rdataset("helium.ns.hetzner.de", "AAAA")[0]) == name_server.SERVICE.address6(here)
    four = parsed["7.18.198.in-addr.arpa"].find_rdataset("10", "PTR")
    assert str(four[0].target.derelativize(dns.name.root)) == "web.example.eu."
    assert "IN PTR web.example.eu." in zones["3.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"]
    config = (folder / "nsd.conf").read_text()
    assert all(f'zonefile: "{path.name}"' in config for path in folder.glob("*.zone"))
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}
    assert list(name_server.SERVICE.folder(here).iterdir()) == [], "root writes nothing where the program can"


def test_serials_rise_with_what_changes_only(here: Place) -> None:
    first = name_server._write_all(here, {"example.eu": TEXT.format(7)}, POINTERS)
    assert name_server._write_all(here, {"example.eu": TEXT.format(7)}, POINTERS) == first
    second = name_server._write_all(here, {"example.eu": TEXT.format(8)}, {**POINTERS, "198.18.6.11": "db.example.eu"})
    assert {name for name in second if second[name] != first[name]} == {"example.eu", "6.18.198.in-addr.arpa"}
    assert second["6.18.198.in-addr.arpa"] == first["6.18.198.in-addr.arpa"] + 1


def test_a_zone_that_goes_is_waited_for_until_nobody_serves_it(here: Place) -> None:
    name_server._write_all(here, {"example.eu": TEXT.format(7)}, {})
    serials = name_server._write_all(here, {}, {})
    assert serials["example.eu"] == -1
    folder = name_server.SERVICE.settings(here)
    assert not (folder / "example.eu.zone").exists()
    assert "example.eu" not in (folder / "nsd.conf").read_text()
