"""Wrong zones and the exact words that a user reads; what is made of right ones."""

from __future__ import annotations

from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import pytest

from bastide.errors import SettingsError
from bastide.settings import RecordSet
from bastide.settings.dns import Caa, quoted_text
from bastide.stackfile import parse
from tests.unit.bastide.test_settings import example

ZONE = "example.eu"


def records(*wanted: tuple[str, str, str]) -> dict[str, Any]:
    return {"zones": {ZONE: {"records": [{"name": n, "type": t, "values": [v]} for n, t, v in wanted]}}}


def said(dns: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as error:
        parse({**example(), "dns": dns}, "f")
    text = str(error.value).removeprefix("f: settings.dns")
    return text.removeprefix(f".zones.{ZONE}").removeprefix(".records.0").removeprefix(": ")


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (("www", "A", "2001:db8::1"), "www A: is an IPv6 address; type AAAA is for those (got '2001:db8::1')"),
        (("www", "AAAA", "192.0.2.1"), "www AAAA: is an IPv4 address; type A is for those (got '192.0.2.1')"),
        (("www", "A", "192.0.2.300"), "www A: must be an IPv4 address (got '192.0.2.300')"),
        (("www", "AAAA", "2001:DB8::1"), "www AAAA: must be written 2001:db8::1 (got '2001:DB8::1')"),
        (
            ("@", "TXT", '"v=spf1"'),
            "@ TXT: is quoted already: write the text itself, quotes are added (got '\"v=spf1\"')",
        ),
        (("@", "TXT", "größer"), "@ TXT: must be printable ASCII in one line (got 'größer')"),
        (("@", "TXT", ""), "@ TXT: must have 1 to 4096 characters (got '')"),
        (("@", "MX", "mail.example.net."), "@ MX: must be like 10 mail.example.eu. (got 'mail.example.net.')"),
        (
            ("@", "MX", "10 mail.example.net"),
            "@ MX: ends without a dot and would mean mail.example.net inside the zone: write mail.example.net. "
            "(got '10 mail.example.net')",
        ),
        (("a", "CNAME", "b c"), "a CNAME: must be one name (got 'b c')"),
        (("a", "CAA", "letsencrypt.org"), "a CAA: must be like 0 issue \"letsencrypt.org\" (got 'letsencrypt.org')"),
        (("_sip._tcp", "SRV", "0 5 sip"), "_sip._tcp SRV: must be like 0 5 443 www.example.eu. (got '0 5 sip')"),
        (("@", "NS", "ns1.example.net."), "@ NS: the provider sets the zone's own name servers"),
        (("@", "CAA", '0 issue ";"'), "@ CAA: is there twice; it stands in caa already"),
    ],
)
def test_wrong_records(record: tuple[str, str, str], sentence: str) -> None:
    assert said(records(record)).splitlines()[0] == sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("www.example.eu.", "must be relative to the zone, without a final dot (@ is the zone itself)"),
        ("WWW", "must be lower-case labels like www or _dmarc, or @ for the zone itself"),
        ("a..b", "must be lower-case labels like www or _dmarc, or @ for the zone itself"),
        ("a.*", "must be lower-case labels like www or _dmarc, or @ for the zone itself"),
    ],
)
def test_names_outside_of_the_zone_or_none_at_all(name: str, sentence: str) -> None:
    assert said(records((name, "A", "192.0.2.1"))) == f".name: {sentence} (got {name})"


def test_sets_that_do_not_go_together() -> None:
    twice = records(("a", "A", "192.0.2.1"), ("a", "A", "192.0.2.2"))
    assert said(twice) == "a A: is there twice; it stands in records already"
    assert said({"zones": {ZONE: {"sites": ["www", "www"]}}}) == "www A: is there twice; it stands in sites already"
    beside = records(("a", "CNAME", "b"), ("a", "TXT", "x"))
    assert said(beside) == "a CNAME: an alias must be alone, but there is also TXT"
    made = {"zones": {ZONE: {"sites": ["www"], **records(("www", "AAAA", "2001:db8::1"))["zones"][ZONE]}}}
    assert said(made) == "www AAAA: is there twice; it stands in sites already"
    values = records(("a", "A", "192.0.2.1"))
    values["zones"][ZONE]["records"][0]["values"] = ["192.0.2.1", "192.0.2.1"]
    assert said(values) == "a A: a value stands there twice"


def test_zones_that_are_refused() -> None:
    assert said({"zones": {}}) == ".zones: must have at least 1 entry"
    assert "must be a domain name in lower case" in said({"zones": {"Example": {}}})
    assert said({"zones": {ZONE: {"ttl": 59}}}) == ".ttl: must be at least 60 (got 59)"
    other = {"zones": {ZONE: {}}, "reverse": "example.net"}
    assert said(other) == "reverse: example.net is none of zones; both directions must be ours"


def test_a_machine_has_its_name_for_itself() -> None:
    taken = {"zones": {ZONE: {"sites": ["standby"]}}, "reverse": ZONE}
    with pytest.raises(SettingsError, match="standby is the machine's own name there"):
        parse({**example(), "dns": taken}, "f")


def test_a_zone_need_not_be_the_companys_domain() -> None:
    settings = parse({**example(), "dns": {"zones": {"other.example": {}}}}, "f")
    assert settings.dns is not None
    assert parse({key: value for key, value in example().items() if key != "dns"}, "f").dns is None


@pytest.mark.parametrize(
    ("caa", "values"),
    [
        (Caa(), ('0 issue ";"',)),
        (Caa(issuers=("a.example",)), ('0 issue "a.example"', '0 issuewild ";"')),
        (Caa(issuers=("a.example",), wildcards=True), ('0 issue "a.example"',)),
        (Caa(report_to="s@example.eu"), ('0 issue ";"', '0 iodef "mailto:s@example.eu"')),
        (
            Caa(issuers=("a.example; accounturi=https://a.example/1",), wildcards=True),
            ('0 issue "a.example; accounturi=https://a.example/1"',),
        ),
    ],
)
def test_who_may_issue(caa: Caa, values: tuple[str, ...]) -> None:
    assert caa.values() == values
    RecordSet(name="@", type="CAA", values=values)


@pytest.mark.parametrize("text", ["plain", 'say "hello"', "back\\slash", "x" * 254 + '"' + "y" * 600, "a" * 255])
def test_text_survives_its_quoting(text: str) -> None:
    wire = quoted_text(text)
    rdata = dns.rdata.from_text(dns.rdataclass.IN, "TXT", wire, dns.name.root)
    assert all(len(piece) <= 255 for piece in rdata.strings)
    assert b"".join(rdata.strings).decode() == text


def test_text_is_quoted_as_the_provider_does_it() -> None:
    # pulumi_hcloud.txt_record() of the same texts; the two differ only in what that one gets wrong (backslashes,
    # and quotes at a cut)
    assert quoted_text("hello world") == '"hello world"'
    assert quoted_text('hello "world"') == '"hello \\"world\\""'
    assert quoted_text("a" * 300) == f'"{"a" * 255}" "{"a" * 45}"'
