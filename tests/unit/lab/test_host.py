"""What the lab reads off its host: apt's mirrors and proxies, and what the doctor finds missing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lab import doctor
from lab.machines.router import proxied_addresses
from lab.upstream import (
    Upstream,
    apt_proxies,
    host_and_port,
    parse_deb822,
    parse_one_line,
    pick_mirrors,
    unfolded,
)

DEB822 = """\
Types: deb deb-src
# a comment in the middle
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/x.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites:
 bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm bookworm-updates
Components: main
"""
ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/x.asc] https://third.example/linux/debian bookworm main
deb https://third.example/apt stable stable # main
deb-src http://mirror.example/debian bookworm main
"""


def test_debians_own_mirror_is_found_among_third_parties() -> None:
    sources = [*parse_one_line(ONE_LINE), *parse_deb822(DEB822)]
    assert sources == [
        ("https://third.example/linux/debian", "bookworm"),
        ("http://mirror.example/debian/", "bookworm"),
        ("http://mirror.example/debian/", "bookworm-updates"),
        ("http://mirror.example/debian-security", "bookworm-security"),
    ]
    assert pick_mirrors(sources) == ("http://mirror.example/debian", "http://mirror.example/debian-security")


def test_a_list_of_mirrors_is_looked_into(tmp_path: Path) -> None:
    """Debian's own cloud images have their mirrors in such files (apt-transport-mirror(1))."""
    known = tmp_path / "debian.list"
    known.write_text("# a comment\nhttps://m.example/debian\tpriority:1\nhttps://other.example/debian\n")
    sources = [
        (f"mirror+file:{known}", "trixie-updates"),
        ("mirror+file:/no/such/file", "trixie"),
        ("http://m.example/debian-security", "trixie-security"),
    ]
    assert list(unfolded(sources)) == [
        ("https://m.example/debian", "trixie-updates"),
        ("https://other.example/debian", "trixie-updates"),
        ("http://m.example/debian-security", "trixie-security"),
    ]


def test_no_mirror_is_no_mirror() -> None:
    assert pick_mirrors([("cdrom:[x]/debian", "trixie"), ("http://x.example/ubuntu", "noble")]) == ("", "")


def test_proxies() -> None:
    dump = 'Acquire::http::Proxy "http://proxy:3142";\nAcquire::http::Proxy::in.example "DIRECT";\nAcquire::https "";\n'
    assert apt_proxies(dump) == (("http", "http://proxy:3142"),)
    upstream = Upstream(
        "http://m.example/debian", "https://m.example/debian-security", (("http", "http://proxy:3142"),)
    )
    assert upstream.origins() == (("m.example", 80), ("m.example", 443), ("proxy", 3142))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a/debian", ("a", 80)),
        ("https://a/debian", ("a", 443)),
        ("http://10.0.0.1:3142", ("10.0.0.1", 3142)),
        ("http://[2001:db8::1]:8080/x", ("2001:db8::1", 8080)),
    ],
)
def test_host_and_port(url: str, expected: tuple[str, int]) -> None:
    assert host_and_port(url) == expected


def test_origins_get_addresses_in_the_lab() -> None:
    found = proxied_addresses((("a.example", 80), ("a.example", 443), ("b.example", 80), ("10.1.2.3", 3142)))
    assert found == {"a.example": "172.31.1.10", "b.example": "172.31.1.11", "10.1.2.3": "10.1.2.3"}


def test_missing_programs_are_one_line_with_the_command_that_installs_them() -> None:
    absent = {"nft", "systemd-nspawn", "nsenter"}
    (finding,) = doctor.missing_programs(lambda name: None if name in absent else f"/usr/bin/{name}")
    assert str(finding) == (
        "✗ not installed: systemd-nspawn, nft, nsenter; "
        "next: sudo apt-get install nftables systemd-container util-linux"
    )
    assert doctor.missing_programs(lambda name: name) == []


def test_a_port_in_use_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = doctor.port_finding(port)
    assert finding.level == "missing"
    assert finding.next
    assert doctor.port_finding(port).level == "ok"
