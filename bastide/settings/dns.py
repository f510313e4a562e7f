"""`settings.dns`: the zones whose names lead to the platform, and who may issue certificates for them."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Area, Domain

RecordType = Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"]
Ttl = Annotated[int, Field(ge=60, le=604_800)]

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# relative to the zone; a star only as the first label (RFC 4592, section 2.1.1)
_NAME = re.compile(rf"@|(\*|{_LABEL})(\.{_LABEL})*")
_TARGET = re.compile(rf"({_LABEL}\.)+|{_LABEL}(\.{_LABEL})*|@")
_MAIL = re.compile(r"[^@\s\"]+@[^@\s\"]+\.[^@\s\"]+")
# a record set's data must fit into one answer; the provider takes at most 50 records a set
_LONGEST_TEXT = 4096
_NUMBERS = {"MX": 1, "SRV": 3}


def _name(value: str) -> str:
    if value.endswith("."):
        raise ValueError("must be relative to the zone, without a final dot (@ is the zone itself)")
    if len(value) > 240 or not _NAME.fullmatch(value):
        raise ValueError("must be lower-case labels like www or _dmarc, or @ for the zone itself")
    return value


def _issuer(value: str) -> str:
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,63}(; ?[a-z0-9]+=[!-:<-~]+)*", value):
        raise ValueError("must be an authority's domain like letsencrypt.org (RFC 8659, issuer-domain-name)")
    if '"' in value or "\\" in value:
        raise ValueError("must not hold quotes or backslashes")
    return value


RecordName = Annotated[str, AfterValidator(_name)]


class Caa(Area):
    """Which certificate authorities may issue for the zone (RFC 8659). All others must refuse."""

    issuers: tuple[Annotated[str, AfterValidator(_issuer)], ...] = ()
    """Authorities by their domains, like letsencrypt.org. With none nobody may issue."""
    wildcards: bool = False
    """Whether they may issue certificates for all names at once (*.zone), too."""
    report_to: Annotated[str, Field(pattern=_MAIL.pattern)] | None = None
    """Mail address that authorities report refused requests to."""

    def values(self) -> tuple[str, ...]:
        """The record set's values."""
        issue = [f'0 issue "{issuer}"' for issuer in self.issuers] or ['0 issue ";"']
        wild = [] if self.wildcards or not self.issuers else ['0 issuewild ";"']
        report = [f'0 iodef "mailto:{self.report_to}"'] if self.report_to else []
        return (*issue, *wild, *report)


class RecordSet(Area):
    """All records of one name and type."""

    name: RecordName
    """Name relative to the zone; @ is the zone itself."""
    type: RecordType
    """A, AAAA, CAA, CNAME, MX, NS, SRV or TXT."""
    values: Annotated[tuple[str, ...], Field(min_length=1, max_length=50)]
    """Values as in a zone file; those of TXT as plain text, without quotes around them."""
    ttl: Ttl | None = None
    """Seconds that others may keep the answer; the zone's without it."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        for value in self.values:
            if problem := _problem(self.type, value):
                raise ValueError(f"{self.name} {self.type}: {problem} (got {value[:60]!r})")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"{self.name} {self.type}: a value stands there twice")
        if self.type == "CNAME" and len(self.values) > 1:
            raise ValueError(f"{self.name} CNAME: an alias has one target")
        return self

    def wire_values(self) -> tuple[str, ...]:
        """The values as name servers and the provider want them: TXT in quoted pieces of 255 bytes."""
        return tuple(map(quoted_text, self.values)) if self.type == "TXT" else self.values


class Zone(Area):
    """One zone at the provider's name servers. Its name is its key in `settings.dns.zones`."""

    ttl: Ttl = 300
    """Seconds that others may keep an answer: for so long a changed address is not seen everywhere."""
    sites: tuple[RecordName, ...] = ()
    """Names that lead to both sites: each gets A and AAAA records of primary and standby."""
    caa: Caa = Caa()
    """Which certificate authorities may issue for the zone (RFC 8659). All others must refuse."""
    records: tuple[RecordSet, ...] = ()
    """Further record sets, a name and type only once."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        made: list[tuple[str, str]] = [(name, kind) for name in self.sites for kind in ("A", "AAAA")]
        made += [("@", "CAA"), *((one.name, one.type) for one in self.records)]
        for name, kind in made:
            if made.count((name, kind)) > 1:
                source = "caa" if (name, kind) == ("@", "CAA") else "sites" if name in self.sites else "records"
                raise ValueError(f"{name} {kind}: is there twice; it stands in {source} already")
            types = {other for owner, other in made if owner == name}
            if "CNAME" in types and len(types) > 1:
                raise ValueError(f"{name} CNAME: an alias must be alone, but there is also {_others(types)}")
        if ("@", "NS") in made:
            raise ValueError("@ NS: the provider sets the zone's own name servers")
        return self


class Dns(Area):
    """Zones at the provider's name servers, and the reverse names of the machines' addresses."""

    zones: Annotated[dict[Domain, Zone], Field(min_length=1)]
    """Zones by name. A zone that exists already is imported, see docs/how-to/import.md."""
    reverse: Domain | None = None
    """Zone in which each machine gets a name of its own; the reverse names of its addresses lead there."""

    @model_validator(mode="after")
    def _reverse_is_ours(self) -> Self:
        if self.reverse is not None and self.reverse not in self.zones:
            raise ValueError(f"reverse: {self.reverse} is none of zones; both directions must be ours")
        return self

    def problems(self, machines: tuple[str, ...]) -> list[str]:
        """What does not fit together with the machines' names: they take names in the reverse zone."""
        if self.reverse is None:
            return []
        zone = self.zones[self.reverse]
        taken = {*zone.sites, *(one.name for one in zone.records if one.type in ("A", "AAAA", "CNAME"))}
        return [
            f"dns.zones.{self.reverse}: {name} is the machine's own name there (dns.reverse)"
            for name in machines
            if name in taken
        ]


def quoted_text(text: str) -> str:
    """A TXT value in a zone file's form: quoted pieces of at most 255 bytes (RFC 1035, section 3.3.14).

    Pieces are cut before anything is escaped, so that no cut falls into an escape.
    """
    pieces = [text[start : start + 255] for start in range(0, len(text), 255)]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def _problem(kind: str, value: str) -> str:
    """What is wrong with a value of this type; "" when nothing is."""
    if kind == "TXT":
        return _text_problem(value)
    if kind in ("A", "AAAA"):
        return _address_problem(kind, value)
    if kind == "CAA":
        fits = re.fullmatch(r'(0|128) [a-z0-9]+ "[^"\\]*"', value)
        return "" if fits else 'must be like 0 issue "letsencrypt.org"'
    *numbers, target = value.split(" ")
    wanted = _NUMBERS.get(kind, 0)
    if len(numbers) != wanted or not all(n.isascii() and n.isdecimal() and int(n) <= 65535 for n in numbers):
        return {"MX": "must be like 10 mail.example.eu.", "SRV": "must be like 0 5 443 www.example.eu."}.get(
            kind, "must be one name"
        )
    if not _TARGET.fullmatch(target):
        return "names a target that is none: lower-case labels, with a final dot when it is not in this zone"
    if "." in target and not target.endswith("."):
        return f"ends without a dot and would mean {target} inside the zone: write {target}."
    return ""


def _text_problem(value: str) -> str:
    if not 1 <= len(value) <= _LONGEST_TEXT:
        return f"must have 1 to {_LONGEST_TEXT} characters"
    if not (value.isascii() and value.isprintable()):
        return "must be printable ASCII in one line"
    if value.startswith('"') and value.endswith('"'):
        return "is quoted already: write the text itself, quotes are added"
    return ""


def _address_problem(kind: str, value: str) -> str:
    if "%" in value:
        return "must have no zone id: leave out % and what follows"
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return f"must be an IPv{'4' if kind == 'A' else '6'} address"
    if address.version != (4 if kind == "A" else 6):
        return f"is an IPv{address.version} address; type {'A' if address.version == 4 else 'AAAA'} is for those"
    # another spelling of the same address would be a difference at each preview
    return "" if str(address) == value else f"must be written {address}"


def _others(types: set[str]) -> str:
    return ", ".join(sorted(types - {"CNAME"}))
