"""What breaks a lab's lines on purpose, as text: rules, words, and what is kept of it."""

from __future__ import annotations

import shutil
from argparse import ArgumentTypeError

import pytest

from bastide.console import run
from bastide.errors import LabError
from lab import kept, status, words
from lab.arguments import parser
from lab.machines import delay, delayer, lines, trouble
from lab.machines.delayer import Line
from lab.machines.firewall import Port, router_rules
from lab.machines.private import network_rules
from lab.machines.trouble import EVERYBODY, Cut, Delay, End, Rules
from lab.place import Place

ENDS = {
    "a": End("m1", ("198.18.0.1", "2001:db8:0:1::/64")),
    "b": End("m2", ("198.18.0.2", "2001:db8:0:2::/64")),
    "operator": End("up0"),
}
SERVICES = {"storage": ["198.18.0.4", "2001:db8:0:4::1"]}
HERE = Place("x", "lab12345", 3)


def cut(*cuts: Cut, delays: tuple[Delay, ...] = ()) -> list[str]:
    return trouble.cut_lines(cuts, ENDS, trouble.ways(delays, ENDS), SERVICES)


@pytest.fixture
def here() -> Place:
    HERE.folder.mkdir(parents=True)
    return HERE


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        (Cut("a", "b"), ['iifname "m1" oifname "m2" drop']),
        (Cut("operator", "b"), ['iifname "up0" oifname "m2" drop']),
        (Cut("a", EVERYBODY), ['iifname "m1" drop']),
        (Cut(EVERYBODY, "a"), ['oifname "m1" drop']),
        # a service lives in the router: its packets begin and end there
        (Cut("a", "storage"), ['iifname "m1" ip daddr 198.18.0.4 drop', 'iifname "m1" ip6 daddr 2001:db8:0:4::1 drop']),
        (
            Cut("storage", "a"),
            ['ip saddr 198.18.0.4 oifname "m1" drop', 'ip6 saddr 2001:db8:0:4::1 oifname "m1" drop'],
        ),
        # kept, but nothing to do with this network
        (Cut("a", "gone"), []),
    ],
)
def test_a_cut_becomes_these_lines(what: Cut, lines: list[str]) -> None:
    assert cut(what) == lines


def test_a_cut_catches_packets_on_their_way_to_the_relay_too() -> None:
    delays = (Delay("b", "a", 0.02),)
    assert cut(Cut("a", "b"), delays=delays) == ['iifname "m1" oifname "m2" drop', 'iifname "m1" oifname "slow1" drop']


def test_a_delay_steers_by_the_targets_addresses_and_never_what_comes_from_the_relay() -> None:
    ways = trouble.ways([Delay("gone", "a", 1.0), Delay("a", "b", 0.02)], ENDS)
    assert [(way.device, way.mark) for way in ways] == [("slow2", 5102), ("slow3", 5103)], (
        "the place in the list counts"
    )
    lines = trouble.steer_lines(ways)
    assert lines[0] == 'iifname "m1" ip daddr { 198.18.0.2 } meta mark set 5102'
    assert lines[1] == 'iifname "m1" ip6 daddr { 2001:db8:0:2::/64 } meta mark set 5102'
    assert all(line.startswith(('iifname "m1"', 'iifname "m2"')) for line in lines)


def test_a_delayed_packet_is_judged_by_its_targets_firewall_on_the_way_to_the_relay() -> None:
    ways = trouble.ways([Delay("a", "b", 0.02)], ENDS)
    ports = [Port("m1", "198.18.0.1", "", None), Port("m2", "198.18.0.2", "", ())]
    lines = router_rules(ports, ["192.0.2.53"], [], (), Rules(ways=ways)).splitlines()
    judged, passed = (
        lines.index('oifname "slow0" jump in_m2'),
        lines.index('iifname { "m1", "m2" } oifname "slow*" accept'),
    )
    assert lines.index("ct state established,related accept") < judged < passed
    assert 'iifname "slow*" notrack accept' in lines


@pytest.mark.skipif(not shutil.which("nft"), reason="no nft here")
def test_nft_takes_all_of_it() -> None:
    ways = trouble.ways([Delay("a", "b", 0.02)], ENDS)
    cuts = cut(
        Cut("a", "b"), Cut("a", EVERYBODY), Cut("a", "storage"), Cut("operator", "a"), delays=(Delay("a", "b", 1),)
    )
    troubles = Rules(tuple(cuts), tuple(trouble.steer_lines(ways)), ways)
    ports = [Port("m1", "198.18.0.1", "", ()), Port("m2", "198.18.0.2", "", None)]
    for text in (router_rules(ports, ["192.0.2.53"], [], (), troubles), network_rules(troubles)):
        done = run(["unshare", "--map-root-user", "--net", "nft", "-f", "-"], input=text, check=False)
        if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
            pytest.skip("no user namespaces here")
        assert done.ok, done.stderr


def test_every_network_and_hook_has_the_cuts_in_front() -> None:
    router = router_rules([], ["192.0.2.53"], []).splitlines()
    for text in (router, network_rules(Rules()).splitlines()):
        for hook in ("forward", "input", "output"):
            assert text[text.index(f"chain {hook} {{") + 2] == "jump cut"


def test_troubles_are_kept_sorted_and_shown_once(here: Place) -> None:
    cuts = [Cut("b", "a"), Cut("a", "b"), Cut("c", EVERYBODY), Cut(EVERYBODY, "c"), Cut("a", "d")]
    trouble.write(here, [*cuts, Cut("a", "b")], [Delay("a", "b", 0.02, 0.01, 1e7)])
    assert trouble.cuts(here) == sorted(cuts)
    assert status.troubles(here) == [
        "cut: a <-> b",
        "cut: a -> d, one way",
        "cut: c <-> everything",
        "slow: a <-> b, 20ms 1% 10mbit each way",
    ]
    trouble.write(here, [], [])
    assert status.troubles(here) == []


def test_a_packet_is_held_lost_or_queued() -> None:
    assert Line(0, Delay("a", "b", 0.02)).due(5.0, 1500) == 5.02
    assert Line(0, Delay("a", "b", 0.02, 1.0)).due(5.0, 1500) is None
    assert Line(0, Delay("a", "b", 0.02), held=delayer._HELD).due(5.0, 1500) is None
    # 1500 bytes at 1.2 Mbit/s take 10 ms: the second waits for the first, and at 100 ms of backlog the queue is full
    line = Line(0, Delay("a", "b", 0.02, 0.0, 1.2e6))
    found = [line.due(5.0, 1500) for _ in range(13)]
    assert found[:3] == pytest.approx([5.03, 5.04, 5.05])
    assert [one is None for one in found] == [False] * 11 + [True] * 2


def test_words_of_times_shares_and_rates() -> None:
    assert (words.seconds("20ms"), words.seconds("0.5s"), words.share("1%"), words.rate("10mbit")) == (
        0.02,
        0.5,
        0.01,
        1e7,
    )
    for read, wrong in (
        (words.seconds, ("20", "ms", "-1ms", "11s", "1 %")),
        (words.share, ("1", "101%", "1ms")),
        (words.rate, ("10", "1kbit", "10mb")),
    ):
        for text in wrong:
            with pytest.raises(ArgumentTypeError):
                read(text)


def test_the_command_line_reads_as_it_is_spoken() -> None:
    args = parser().parse_args(["slow", "a", "b", "20ms", "1%", "--rate", "10mbit"])
    assert (args.one, args.other, args.delay, args.loss, args.rate) == ("a", "b", 0.02, 0.01, 1e7)
    args = parser().parse_args(["block", "a"])
    assert (args.one, args.other, args.one_way) == ("a", "", False)
    args = parser().parse_args(["unblock"])
    assert (args.one, args.other) == ("", "")
    assert parser().parse_args(["keep"]).switch == "on"


@pytest.mark.parametrize("known", [[], [Delay("a", "b", 0.1)]])
def test_a_delay_that_this_host_cannot_do_leaves_all_as_it_was(
    here: Place, monkeypatch: pytest.MonkeyPatch, known: list[Delay]
) -> None:
    trouble.write(here, [Cut("a", "b")], known)
    tried: list[list[Delay]] = []

    def restart(place: Place) -> None:
        tried.append(trouble.delays(place))
        raise LabError(f"no /dev/net/tun, {len(tried)}")

    monkeypatch.setattr(delay, "restart", restart)
    monkeypatch.setattr(lines, "_machines", lambda place: ["a", "b"])
    with pytest.raises(LabError, match="no /dev/net/tun, 1"):
        lines.slow(here, Delay("a", "b", 0.2))
    assert (trouble.cuts(here), trouble.delays(here)) == ([Cut("a", "b")], known)
    assert tried == [[Delay("a", "b", 0.2)], known], "what was delayed before is again"


def test_a_kept_lab_refuses_with_the_way_out(here: Place) -> None:
    kept.refuse(here)
    kept.keep(here, True)
    kept.keep(here, True)
    with pytest.raises(LabError, match="kept for a look") as failure:
        kept.refuse(here)
    assert "--force" in failure.value.hint
    kept.keep(here, False)
    kept.keep(here, False)
    kept.refuse(here)
