"""How a name server's answer is read: only an authoritative one counts, and a silent server is asked once."""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from bastide.settings import RecordSet
from tests.verify.probes import dns as names
from tests.verify.probes.world import NotSeen

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
        with pytest.raises(AssertionError, match=f"ns1.example does not answer for {name} {kind}"):
            found.of(name, kind)


def test_declared_values_are_spelt_as_answers_are() -> None:
    mx = RecordSet(name="@", type="MX", values=("10 mail",))
    assert names.expected(mx, "example.eu") == {"10 mail.example.eu."}
    text = RecordSet(name="@", type="TXT", values=('say "hello"',))
    assert names.expected(text, "example.eu") == {'"say \\"hello\\""'}
