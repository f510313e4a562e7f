"""Which names lead here: the wrong ways. They are done at the provider's API, past Pulumi."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import PRIMARY, STANDBY, Json, Order, Sabotage

_RRSETS = "/v1/zones/{zone}/rrsets"
_NONE = "true"  # nothing is broken on the machine itself
_NOBODYS = "203.0.113.66"  # RFC 5737, TEST-NET-3


def _ordered(
    control: str, what: str, says: str, order: Order, back: Order, machines: tuple[str, ...] = STANDBY
) -> Sabotage:
    """One order to the provider, and the order that takes it back."""
    # two of them change the same record sets
    everywhere = ("names of the sites",) if control == "dns-01" else ()
    return Sabotage(
        control, what, says, _NONE, _NONE, machines, everywhere=everywhere, orders=(order,), taken_back=(back,)
    )


def _values(*values: str) -> Json:
    return {"records": [{"value": value} for value in values]}


def _add(name: str, *values: str) -> Order:
    return Order("POST", f"{_RRSETS}/{name}/actions/add_records", _values(*values))


def _remove(name: str, *values: str) -> Order:
    return Order("POST", f"{_RRSETS}/{name}/actions/remove_records", _values(*values))


def _set(name: str, *values: str) -> Order:
    return Order("POST", f"{_RRSETS}/{name}/actions/set_records", _values(*values))


def _pointer(address: str, name: str | None) -> Order:
    path = "/v1/servers/{standby.id}/actions/change_dns_ptr"
    return Order("POST", path, {"ip": address, "dns_ptr": name})


_OTHER = '0 issue "other-authority.example"'
_CAA = ('0 issue "letsencrypt.org"', '0 issuewild ";"', '0 iodef "mailto:security@example.eu"')
_DMARC = "v=DMARC1; p=reject; rua=mailto:security@example.eu"

SABOTAGES = (
    _ordered(
        "dns-01",
        "the standby was forgotten",
        "does not give 198.",
        _remove("www/A", "{standby.address}"),
        _add("www/A", "{standby.address}"),
    ),
    _ordered(
        "dns-01",
        "IPv6 was forgotten",
        "does not give 2001:",
        _remove("www/AAAA", "{primary.address6}", "{standby.address6}"),
        Order(
            "POST",
            _RRSETS,
            {
                "name": "www",
                "type": "AAAA",
                "labels": {"bastide": "{stack}"},
                **_values("{primary.address6}", "{standby.address6}"),
            },
        ),
    ),
    _ordered(
        "dns-01",
        "a stranger's address beside our own",
        f"gives {_NOBODYS} for example.eu, which is no site's",
        _add("@/A", _NOBODYS),
        _remove("@/A", _NOBODYS),
    ),
    _ordered(
        "dns-01",
        "the witness is handed out as a site",
        "for www.example.eu, which is no site's",
        _add("www/AAAA", "{witness.address6}"),
        _remove("www/AAAA", "{witness.address6}"),
    ),
    _ordered(
        "dns-02",
        "there is no CAA record",
        "does not give example.eu CAA",
        Order("DELETE", f"{_RRSETS}/@/CAA"),
        Order("POST", _RRSETS, {"name": "@", "type": "CAA", "labels": {"bastide": "{stack}"}, **_values(*_CAA)}),
        machines=PRIMARY,
    ),
    _ordered(
        "dns-02",
        "another authority was let in",
        f"gives example.eu CAA {_OTHER}, which is not declared",
        _add("@/CAA", _OTHER),
        _remove("@/CAA", _OTHER),
        machines=PRIMARY,
    ),
    _ordered(
        "dns-02",
        "a nearer record lets another authority in",
        f"gives www.example.eu CAA {_OTHER}, which is not declared",
        _add("www/CAA", _OTHER),
        _remove("www/CAA", _OTHER),
        machines=PRIMARY,
    ),
    _ordered(
        "dns-02",
        "so does one at a name that leads to no site",
        f"gives _dmarc.example.eu CAA {_OTHER}, which is not declared",
        _add("_dmarc/CAA", _OTHER),
        _remove("_dmarc/CAA", _OTHER),
        machines=PRIMARY,
    ),
    _ordered(
        "dns-03",
        "the provider's own reverse name",
        ".clients.your-server.de. for 198.",
        _pointer("{standby.address}", None),
        _pointer("{standby.address}", "standby.{zone}"),
    ),
    _ordered(
        "dns-03",
        "no reverse name over IPv6",
        "gives nothing for 2001:",
        _pointer("{standby.address6}", None),
        _pointer("{standby.address6}", "standby.{zone}"),
    ),
    _ordered(
        "dns-03",
        "the name leads elsewhere",
        f"standby.example.eu leads to {_NOBODYS}",
        _set("standby/A", _NOBODYS),
        _set("standby/A", "{standby.address}"),
    ),
    _ordered(
        "dns-04",
        "everybody may send mail in our name",
        'does not give example.eu TXT "v=spf1 -all"',
        _set("@/TXT", '"v=spf1 +all"'),
        _set("@/TXT", '"v=spf1 -all"'),
        machines=PRIMARY,
    ),
    _ordered(
        "dns-04",
        "a text that lost a space where it was cut",
        "does not give _dmarc.example.eu TXT",
        _set("_dmarc/TXT", f'"{_DMARC[:10]}" "{_DMARC[11:]}"'),
        _set("_dmarc/TXT", f'"{_DMARC}"'),
        machines=PRIMARY,
    ),
)
