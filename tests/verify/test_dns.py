"""Which names lead here, as every authoritative name server says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bastide.machines import Inventory, Machine
from bastide.settings import RecordSet, Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes.dns import Answers, Reverse, expected, owners, reverse, whole, zones
from tests.verify.probes.world import Observation, declared


@pytest.mark.control("dns-01")
@pytest.mark.probe(zones)
def test_names_lead_to_both_sites(
    observation: Observation, machine: Machine, settings: Settings, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """Every name server gives its two addresses for every declared name, and no address that is no site's."""
    dns = declared(settings.dns)
    names = [(zone, owner) for zone, wanted in dns.zones.items() for owner in wanted.sites]
    if not names:
        not_provable_here("no zone of the stack file has names that lead to the sites (sites)")
    sites = [one for one in inventory if one.role != "witness"]
    found: dict[str, tuple[Answers, ...]] = observation.data
    wrong = []
    for zone, owner in names:
        for answers in found[zone]:
            for kind, own, all_ in (
                ("A", machine.address, {one.address for one in sites}),
                ("AAAA", machine.address6, {one.address6 for one in sites}),
            ):
                name = whole(owner, zone)
                if silence := answers.silence(name, kind):
                    wrong.append(silence)
                    continue
                given = answers.values[name, kind]
                # a server of somebody else may have no IPv6 address
                if own and own not in given:
                    wrong.append(f"{answers.server} does not give {own} for {name}")
                if strangers := sorted(given - all_):
                    wrong.append(f"{answers.server} gives {', '.join(strangers)} for {name}, which is no site's")
    judge(wrong)
    note(f"{len(names)} names at {_servers(found)}")


@pytest.mark.control("dns-02")
@pytest.mark.probe(zones)
def test_only_the_declared_may_issue_certificates(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """Every name server gives the declared CAA records and no others, for the zone and each declared name in it."""
    dns = declared(settings.dns)
    found: dict[str, tuple[Answers, ...]] = observation.data
    wrong: list[str] = []
    for zone, wanted in dns.zones.items():
        caa = expected(RecordSet(name="@", type="CAA", values=wanted.caa.values()), zone)
        own = {one.name: expected(one, zone) for one in wanted.records if one.type == "CAA"}
        for answers in found[zone]:
            wrong += _differences(answers, zone, "CAA", caa)
            # a nearer record set would count before the zone's
            for owner in owners(wanted):
                wrong += _differences(answers, whole(owner, zone), "CAA", own.get(owner, frozenset()))
        note(f"{zone}: {', '.join(sorted(caa))} at {_servers(found)}")
    judge(wrong)


@pytest.mark.control("dns-03")
@pytest.mark.probe(reverse)
def test_its_addresses_have_its_name_and_back(
    observation: Observation, machine: Machine, settings: Settings, note: Callable[[str], None]
) -> None:
    """The reverse names of its two addresses are its own name, which leads to them."""
    dns = declared(settings.dns)
    if dns.reverse is None:
        not_provable_here("the stack file declares no reverse names (dns.reverse)")
    own = f"{machine.name}.{dns.reverse}"
    found: tuple[Reverse, ...] = observation.data
    wrong: list[str] = []
    theirs: list[str] = []
    for one in found:
        for server, names in one.names.items():
            said = ", ".join(sorted(names)) or "nothing"
            if names != {f"{own}."} and machine.provider == "existing":
                # only whose address it is can set its reverse name
                theirs.append(f"gives {said} instead of {own} for {one.address}")
            elif names != {f"{own}."}:
                wrong.append(f"{server} gives {said} for {one.address}, not {own}")
        if not one.names:
            wrong.append(f"no name server gives a name for {one.address}")
        # where it leads was asked of a name that was given
        back = one.back.get(own)
        if back is not None and back != {one.address}:
            wrong.append(f"{own} leads to {', '.join(sorted(back)) or 'nothing'}, not to {one.address}")
    judge(wrong)
    if theirs:
        not_provable_here(f"{machine.hoster} has to set the reverse names, and {'; '.join(dict.fromkeys(theirs))}")
    note(f"{' and '.join(one.address for one in found)}: {own} and back")


@pytest.mark.control("dns-04")
@pytest.mark.probe(zones)
def test_name_servers_agree_and_give_what_is_declared(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """All name servers have the same serial, and each declared record set as it stands in the stack file."""
    dns = declared(settings.dns)
    found: dict[str, tuple[Answers, ...]] = observation.data
    wrong: list[str] = []
    for zone, wanted in dns.zones.items():
        serials = {answers.server: answers.serial for answers in found[zone]}
        if len(set(serials.values())) != 1:
            wrong.append(f"the name servers of {zone} have several versions: {serials}")
        for record_set in wanted.records:
            for answers in found[zone]:
                name = whole(record_set.name, zone)
                wrong += _differences(answers, name, record_set.type, expected(record_set, zone))
        note(f"{zone}: {len(wanted.records)} record sets, serial {', '.join(map(str, {*serials.values()}))}")
    judge(wrong)
    note(f"asked {_servers(found)}")


def _differences(answers: Answers, name: str, kind: str, wanted: frozenset[str]) -> Iterator[str]:
    """Why what a name server gives is not what is declared."""
    if silence := answers.silence(name, kind):
        yield silence
        return
    given = answers.values[name, kind]
    if missing := sorted(wanted - given):
        yield f"{answers.server} does not give {name} {kind} {', '.join(missing)}"
    if more := sorted(given - wanted):
        yield f"{answers.server} gives {name} {kind} {', '.join(more)}, which is not declared"


def _servers(found: dict[str, tuple[Answers, ...]]) -> str:
    return f"{len({answers.server for several in found.values() for answers in several})} name servers"
