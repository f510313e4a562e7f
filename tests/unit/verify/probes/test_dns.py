"""How a name server's answer is read: only an authoritative one counts, and a silent server is asked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from bastide.machines import Machine
from bastide.settings import RecordSet
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify import test_dns as checked
from tests.verify.probes import dns as names
from tests.verify.probes.world import NotSeen, Observation, now

ZONE = "example.eu"
SITES = [machine for machine in inventory() if machine.role != "witness"]
Answer = Callable[[dns.message.Message], dns.message.Message]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], list[str]]:
    """Has every question answered by a function; returns the list of what was asked."""

    def set_up(answer: Answer) -> list[str]:
        asked: list[str] = []

        def query(message: dns.message.Message, where: str, timeout: float) -> tuple[dns.message.Message, bool]:
            asked.append(str(message.question[0]))
            return answer(message), False

        monkeypatch.setattr(dns.query, "udp_with_fallback", query)
        return asked

    return set_up


def reply(message: dns.message.Message, *, flags: int = dns.flags.AA, code: int = 0) -> dns.message.Message:
    response = dns.message.make_response(message)
    response.flags |= flags
    response.set_rcode(dns.rcode.Rcode(code))
    response.answer.append(dns.rrset.from_text(message.question[0].name, 60, "IN", "A", "192.0.2.1", "192.0.2.2"))
    return response


def test_an_authoritative_answer_counts(answering: Callable[[Answer], list[str]]) -> None:
    answering(reply)
    assert names._ask("192.0.2.53", "example.eu", "A") == {"192.0.2.1", "192.0.2.2"}
    # another type in the answer (an alias on the way, say) is not what was asked for
    assert names._ask("192.0.2.53", "example.eu", "AAAA") == frozenset()


def test_who_may_issue_for_where_an_alias_leads_is_not_who_may_for_the_alias(
    answering: Callable[[Answer], list[str]],
) -> None:
    def alias(message: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(message)
        response.flags |= dns.flags.AA
        response.answer.append(dns.rrset.from_text("shop.example.eu.", 60, "IN", "CNAME", "example.eu."))
        response.answer.append(dns.rrset.from_text("example.eu.", 60, "IN", "CAA", '0 issue "a.example"'))
        return response

    answering(alias)
    assert names._ask("192.0.2.53", "shop.example.eu", "CAA") == frozenset()
    assert names._ask("192.0.2.53", "example.eu", "CAA") == {'0 issue "a.example"'}


def test_a_name_that_does_not_exist_has_no_values(answering: Callable[[Answer], list[str]]) -> None:
    answering(lambda message: dns.message.from_text(reply(message, code=3).to_text().split(";ANSWER")[0]))
    assert names._ask("192.0.2.53", "nothing.example.eu", "A") == frozenset()


def test_caches_and_refusals_do_not_count(answering: Callable[[Answer], list[str]]) -> None:
    answering(lambda message: reply(message, flags=0))
    with pytest.raises(NotSeen, match="not authoritative"):
        names._ask("192.0.2.53", "example.eu", "A")
    answering(lambda message: reply(message, code=5))
    with pytest.raises(NotSeen, match="it says REFUSED"):
        names._ask("192.0.2.53", "example.eu", "A")


def test_a_silent_server_is_asked_once(answering: Callable[[Answer], list[str]]) -> None:
    def silence(message: dns.message.Message) -> dns.message.Message:
        raise dns.exception.Timeout

    asked = answering(silence)
    found = names._ask_all("ns1.example", "192.0.2.53", "example.eu", [("www.example.eu", "A"), ("example.eu", "CAA")])
    assert len(asked) == 1
    for name, kind in (("www.example.eu", "A"), ("example.eu", "CAA"), ("example.eu", "SOA")):
        assert found.silence(name, kind).startswith(f"ns1.example does not answer for {name} {kind}")


def answers(server: str, **changed: frozenset[str]) -> names.Answers:
    """What is declared, as a name server gives it; `changed`: values by "www_A" and the like ("at": the zone)."""
    assert SETTINGS.dns
    (zone,) = SETTINGS.dns.zones.values()
    given = {("example.eu", "CAA"): names.expected(RecordSet(name="@", type="CAA", values=zone.caa.values()), ZONE)}
    given |= {(names.whole(owner, ZONE), "CAA"): frozenset() for owner in names.owners(zone)}
    for name in ("example.eu", "www.example.eu"):
        given[(name, "A")] = frozenset(one.address for one in SITES)
        given[(name, "AAAA")] = frozenset(one.address6 for one in SITES)
    for one in zone.records:
        given[(names.whole(one.name, ZONE), one.type)] = names.expected(one, ZONE)
    for key, values in changed.items():
        name, _, kind = key.rpartition("_")
        given[(names.whole(name.replace("at", "@"), ZONE), kind)] = values
    return names.Answers(server, 7, given, {})


def said(check: Callable[..., None], *found: names.Answers, **more: object) -> list[str]:
    """What a check finds wrong."""
    try:
        check(Observation("dig", {ZONE: found}, now(), 0.1), settings=SETTINGS, note=print, **more)
    except AssertionError as error:
        return str(error).splitlines()[0].split("; ")
    return []


def test_every_name_server_and_every_name_is_judged() -> None:
    check, here = checked.test_names_lead_to_both_sites, {"machine": SITES[0], "inventory": inventory()}
    assert said(check, answers("ns1"), **here) == []
    silent = replace(answers("ns3"), trouble={("www.example.eu", "A"): "timed out"})
    wrong = answers("ns2", at_A=frozenset({"203.0.113.66"}), www_AAAA=frozenset())
    assert said(check, answers("ns1"), wrong, silent, **here) == [
        f"ns2 does not give {SITES[0].address} for example.eu",
        "ns2 gives 203.0.113.66 for example.eu, which is no site's",
        f"ns2 does not give {SITES[0].address6} for www.example.eu",
        "ns3 does not answer for www.example.eu A: timed out",
    ]


def test_every_record_set_is_judged() -> None:
    check = checked.test_name_servers_agree_and_give_what_is_declared
    assert said(check, answers("ns1"), answers("ns2")) == []
    wrong = replace(answers("ns2", at_TXT=frozenset({'"other"'}), _dmarc_TXT=frozenset()), serial=8)
    assert said(check, answers("ns1"), wrong)[0].startswith("the name servers of example.eu have several versions")
    found = [text.partition(" TXT ")[0] for text in said(check, answers("ns1"), wrong)]
    assert found[1:3] == ["ns2 does not give example.eu", "ns2 gives example.eu"]
    assert found[3].startswith("ns2 does not give _dmarc.example.eu")


def test_an_authority_is_named_wherever_it_may_issue() -> None:
    check, other = checked.test_only_the_declared_may_issue_certificates, frozenset({'0 issue "other.example"'})
    assert said(check, answers("ns1")) == []
    assert len(said(check, answers("ns1", www_CAA=other), answers("ns2", www_CAA=other))) == 2
    assert said(check, answers("ns1", _dmarc_CAA=other)) == [
        'ns1 gives _dmarc.example.eu CAA 0 issue "other.example", which is not declared'
    ]


def test_authorities_are_asked_for_at_each_declared_name_and_those_between() -> None:
    assert SETTINGS.dns
    (zone,) = SETTINGS.dns.zones.values()
    record = RecordSet(name="a.b", type="TXT", values=("x",))
    assert names.owners(zone.model_copy(update={"sites": ("@", "www"), "records": (record,)})) == ["a.b", "b", "www"]


def test_reverse_names_are_judged_over_both_protocols() -> None:
    own, there = SITES[0], frozenset({"primary.example.eu."})

    def found(machine: Machine, *rows: names.Reverse) -> list[str]:
        try:
            seen = Observation("dig", rows, now(), 0.1)
            checked.test_its_addresses_have_its_name_and_back(seen, machine, SETTINGS, print)
        except AssertionError as error:
            return str(error).splitlines()[0].split("; ")
        return []

    def row(address: str, given: frozenset[str] = there, back: str = "") -> names.Reverse:
        leads = frozenset({back or address})
        return names.Reverse(address, {"ns1": given}, {name.rstrip("."): leads for name in given})

    assert found(own, row(own.address), row(own.address6)) == []
    wrong = row(own.address, frozenset({"static.provider.example."})), row(own.address6, back="2001:db8::66")
    assert found(own, *wrong) == [
        f"ns1 gives static.provider.example. for {own.address}, not primary.example.eu",
        f"primary.example.eu leads to 2001:db8::66, not to {own.address6}",
    ]
    # whose address it is has to set it, which is no proof; that our own name leads elsewhere is ours all the same
    theirs = replace(own, provider="existing", hoster="OVH")
    with pytest.raises(pytest.skip.Exception, match="OVH has to set the reverse names"):
        found(theirs, wrong[0])
    assert found(theirs, *wrong) == [f"primary.example.eu leads to 2001:db8::66, not to {own.address6}"]


def test_declared_values_are_spelt_as_answers_are() -> None:
    mx = RecordSet(name="@", type="MX", values=("10 mail",))
    assert names.expected(mx, "example.eu") == {"10 mail.example.eu."}
    text = RecordSet(name="@", type="TXT", values=('say "hello"',))
    assert names.expected(text, "example.eu") == {'"say \\"hello\\""'}
