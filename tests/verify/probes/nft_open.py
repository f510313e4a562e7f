"""What a ruleset lets in from outside, worked out rule by rule as the kernel does (nft(8), libnftables-json(5)).

New packets of TCP or UDP that come in by one interface, from any address to any port. Where a rule says more than is
known here, it is taken for the worse: it may let in whatever it can, and it turns nobody away.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bastide.layout.wireguard import INTERFACE as MESH
from tests.verify.openings import PORTS, Area, Span, areas, common, everything, spans, without

_DEPTH = 16  # NFT_JUMP_STACK_SIZE
Rule = list[dict[str, Any]]


@dataclass(frozen=True)
class Packets:
    """What is asked about: `family` ("ip", "ip6"), `protocol` ("tcp", "udp"), `interface` ("": one to the outside)."""

    family: str
    protocol: str
    interface: str = ""

    @property
    def all(self) -> list[Area]:
        """From everywhere to every port."""
        return [Area(everything(self.family), PORTS)]


@dataclass
class Ruleset:
    """Chains and sets by (family, table, name); the base chains of what comes in, in their order."""

    rules: dict[tuple[str, str, str], list[Rule]] = field(default_factory=dict)
    sets: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    bases: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Ways:
    """What became of packets in a chain: let in, and gone through to whoever called it; the rest was turned away."""

    accepted: list[Area]
    through: list[Area]


def read(text: str) -> Ruleset:
    """`nft -j list ruleset`. Raises `AssertionError` when it is none."""
    try:
        items = json.loads(text)["nftables"]
    except (ValueError, KeyError):
        raise AssertionError("nft says nothing: no rules, or nftables is not installed") from None
    found = Ruleset()
    for item in items:
        if chain := item.get("chain"):
            found.rules.setdefault((chain["family"], chain["table"], chain["name"]), [])
            if chain.get("type") == "filter" and chain.get("hook") in ("prerouting", "input"):
                found.bases.append(chain)
        elif rule := item.get("rule"):
            found.rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule["expr"])
        elif known := item.get("set") or item.get("map"):
            found.sets[(known["family"], known["table"], known["name"])] = known.get("elem", [])
    return found


def let_in(ruleset: Ruleset, packets: Packets) -> list[Area]:
    """What gets through every base chain: one that turns a packet away is enough."""
    left = packets.all
    for base in ruleset.bases:
        if base["family"] not in ("inet", packets.family) or not _closes(ruleset, base):
            continue
        ways = _Walk(ruleset, packets, base["family"], base["table"]).chain(base["name"], packets.all)
        passed = ways.accepted + (ways.through if base.get("policy", "accept") == "accept" else [])
        left = common(left, passed)
    return left


def _closes(ruleset: Ruleset, base: dict[str, Any]) -> bool:
    """Whether a chain turns away what it does not name. One that only names who is banned closes nothing."""
    rules = ruleset.rules[(base["family"], base["table"], base["name"])]
    last = rules[-1] if rules else []
    ends = any("drop" in part or "reject" in part for part in last) and not any("match" in part for part in last)
    return base.get("policy", "accept") == "drop" or ends


@dataclass(frozen=True)
class _Walk:
    """Through the chains of one table."""

    ruleset: Ruleset
    packets: Packets
    family: str
    table: str

    def chain(self, name: str, left: list[Area], depth: int = 0) -> _Ways:
        """What becomes of `left` in a chain."""
        if depth > _DEPTH or (self.family, self.table, name) not in self.ruleset.rules:
            return _Ways(left, left)
        accepted: list[Area] = []
        returned: list[Area] = []
        for rule in self.ruleset.rules[(self.family, self.table, name)]:
            where, sure = self._where(rule)
            met = common(left, where)
            if not met:
                continue
            for verdict, target, certain in _verdicts(rule):
                gone = sure and certain
                if verdict in ("accept", "queue"):
                    accepted += met
                elif verdict in ("jump", "goto"):
                    ways = self.chain(target, met, depth + 1)
                    accepted += ways.accepted
                    if verdict == "goto":
                        returned += ways.through
                    elif gone:
                        left, gone = without(left, met) + ways.through, False
                elif verdict == "return":
                    returned += met
                if gone:
                    left = without(left, met)
        return _Ways(accepted, left + returned)

    def _where(self, rule: Rule) -> tuple[list[Area], bool]:
        """Where a rule can count at all, and whether it surely does there."""
        where, sure = self.packets.all, True
        for part in rule:
            if "limit" in part or "quota" in part or "xt" in part or "ct count" in part:
                sure = False
            elif match := part.get("match"):
                possible, certain = self._match(match)
                where, sure = common(where, possible), sure and certain
        return where, sure

    def _match(self, match: dict[str, Any]) -> tuple[list[Area], bool]:
        """The same for one match."""
        left, wanted, op = match["left"], match["right"], match.get("op", "==")
        anything = self.packets.all
        if not isinstance(left, dict) or op not in ("==", "in", "!="):
            return anything, False
        holds = self._holds(left, wanted)
        if holds is not None:
            return (anything if holds != (op == "!=") else []), True
        payload = left.get("payload", {})
        named, what = payload.get("protocol"), payload.get("field")
        if named in (self.packets.protocol, "th") and what == "dport":
            named_ports = self._ports(wanted)
            met = None if named_ports is None else areas([everything(self.packets.family)], named_ports)
        elif named == self.packets.family and what == "saddr":
            sources = self._addresses(wanted)
            met = None if sources is None else areas(sources, [PORTS])
        elif named is not None and named not in (self.packets.protocol, "th", self.packets.family):
            return [], True  # a field of another protocol than is asked about
        else:
            met = None
        if met is None:
            return anything, False
        return (without(anything, met) if op == "!=" else met), True

    def _holds(self, left: dict[str, Any], wanted: Any) -> bool | None:
        """Whether a match on what all these packets have in common holds; None where that is not known."""
        words = self._words(wanted)
        if words is None:
            return None
        if left.get("ct", {}).get("key") == "state":
            # nobody tracks what a rule before says so of
            return None if "untracked" in words else "new" in words
        key = left.get("meta", {}).get("key")
        if key in ("iif", "iifname"):
            if self.packets.interface:
                return self.packets.interface in words
            # the interface to the outside has any name but these two
            return False if words <= {"lo", MESH} else None
        if key == "nfproto":
            return {"ip": "ipv4", "ip6": "ipv6"}[self.packets.family] in words
        if key == "protocol":
            return self.packets.family in words
        payload = left.get("payload", {})
        place = {("ip", "protocol"): "ip", ("ip6", "nexthdr"): "ip6"}.get(
            (payload.get("protocol"), payload.get("field"))
        )
        if place is not None and place != self.packets.family:
            return False
        if key == "l4proto" or place is not None:
            return bool({self.packets.protocol, {"tcp": "6", "udp": "17"}[self.packets.protocol]} & words)
        return None

    def _addresses(self, wanted: Any) -> list[Span] | None:
        found: list[Span] = []
        for item in self._items(wanted):
            span = _address_span(item, self.packets.family)
            if span is None:
                return None
            found += span
        return found

    def _ports(self, wanted: Any) -> list[Span] | None:
        found: list[Span] = []
        for item in self._items(wanted):
            if isinstance(item, dict) and "range" in item:
                first, last = item["range"]
            else:
                first = last = item
            if not (isinstance(first, int) and isinstance(last, int)):
                return None
            found.append((first, last))
        return found

    def _items(self, wanted: Any) -> list[Any]:
        """The elements of a set, a named set or a single value; of an element with a timeout or a comment its value."""
        if isinstance(wanted, str) and wanted.startswith("@"):
            wanted = self.ruleset.sets.get((self.family, self.table, wanted[1:]), [wanted])
        elif isinstance(wanted, dict) and "set" in wanted:
            wanted = wanted["set"]
        items = wanted if isinstance(wanted, list) else [wanted]
        return [item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item for item in items]

    def _words(self, wanted: Any) -> set[str] | None:
        items = self._items(wanted)
        return {str(item) for item in items} if all(isinstance(item, str | int) for item in items) else None


def _verdicts(rule: Rule) -> Iterable[tuple[str, str, bool]]:
    """What a rule says: verdict, chain, and whether it says so of all that it is met by (a map does of some)."""
    for part in rule:
        for word in ("accept", "drop", "reject", "return", "queue"):
            if word in part:
                yield word, "", True
        for word in ("jump", "goto"):
            if word in part:
                yield word, str(part[word]["target"]), True
        if "vmap" in part:
            # of a map of its own every verdict may be met; of a named one they are not looked up
            data = part["vmap"].get("data")
            known = isinstance(data, dict) and "set" in data
            pairs: list[tuple[Any, dict[str, Any]]] = data["set"] if known else [("", {"accept": None})]
            for _, verdict in pairs:
                for word, target, _ in _verdicts([verdict]):
                    if word not in ("drop", "reject"):
                        yield word, target, False


def _address_span(item: Any, family: str) -> list[Span] | None:
    """The range that an element is; [] for one of the other family, None for what is no address."""
    try:
        if isinstance(item, dict) and "prefix" in item:
            return spans([f"{item['prefix']['addr']}/{item['prefix']['len']}"], family)
        if isinstance(item, dict) and "range" in item:
            first, last = (ipaddress.ip_address(word) for word in item["range"])
            return [(int(first), int(last))] if first.version == (6 if family == "ip6" else 4) else []
        return spans([str(item)], family)
    except ValueError:
        return None
