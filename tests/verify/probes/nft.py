"""Reads `nft -j list ruleset` (libnftables-json(5)): the rules that the kernel has, not the file they came from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

# The two halves of what narrows a rule; a match that is not known here (an interface, a protocol as a whole, a new
# connection) narrows nothing: an `accept` behind it lets everything in, and whoever adds such a rule says here why not.
_ANSWERS = {"established", "related", "untracked"}
_PINGS = {"icmp", "icmpv6", "ipv6-icmp"}
# nft(8), "NAT STATEMENTS", "TPROXY STATEMENT", "DUP STATEMENT", "FWD STATEMENT"; iptables-extensions(8), "TARGET
# EXTENSIONS", as iptables-nft leaves them
_LEADS = ("redirect", "dnat", "snat", "masquerade", "tproxy", "dup", "fwd")
_TARGETS = ("REDIRECT", "DNAT", "SNAT", "MASQUERADE", "NETMAP", "TPROXY", "TEE")


@dataclass
class Chain:
    """A base chain and its rules (each a list of expressions)."""

    family: str
    hook: str
    policy: str
    kind: str
    rules: list[list[dict[str, Any]]] = field(default_factory=list)


def parse(text: str) -> list[Chain]:
    """The base chains of a ruleset; those that are jumped to are not needed here."""
    chains: dict[tuple[str, str, str], Chain] = {}
    for item in _items(text):
        if (chain := item.get("chain")) and "hook" in chain:
            key = (chain["family"], chain["table"], chain["name"])
            chains[key] = Chain(chain["family"], chain["hook"], chain.get("policy", "accept"), chain["type"])
        elif rule := item.get("rule"):
            key = (rule["family"], rule["table"], rule["chain"])
            if key in chains:
                chains[key].rules.append(rule["expr"])
    return list(chains.values())


def drops_by_default(chains: list[Chain], hook: str, family: str) -> bool:
    """Whether what no rule names is dropped at this hook for this family ("ip" or "ip6").

    A packet passes all chains of a hook, and one that drops it is enough.
    """
    return any(chain.policy == "drop" or _ends_with_drop(chain) for chain in _at(chains, hook, family))


def accepts_everything(chains: list[Chain], hook: str, family: str) -> bool:
    """Whether the chains that drop by default have a rule that accepts everything of this family."""
    dropping = [chain for chain in _at(chains, hook, family) if chain.policy == "drop" or _ends_with_drop(chain)]
    return all(any(_accepts_everything(rule, family) for rule in chain.rules) for chain in dropping)


def lets_through(chains: list[Chain], hook: str, address: str, family: str = "ip") -> bool:
    """Whether somebody else than root may get through this hook to `address`: every rule before the one that drops it
    counts, and what is not known here is taken for the worse."""
    return not any(_closes_to(chain, address, family) for chain in _at(chains, hook, family))


def drops_forged(chains: list[Chain], network: str, interface: str) -> bool:
    """Whether input drops what comes from `network` by another interface than this one or loopback, before any rule
    that could let it in."""
    address, _, length = network.partition("/")
    source = {"prefix": {"addr": address, "len": int(length)}}
    for chain in _at(chains, "input", "ip"):
        for rule in chain.rules:
            matches = {json.dumps(m["left"]): m for part in rule if (m := part.get("match"))}
            by = matches.pop('{"meta": {"key": "iifname"}}', {})
            spared = _words(by.get("right", "")) if by.get("op") == "!=" else set()
            saddr = matches.pop('{"payload": {"protocol": "ip", "field": "saddr"}}', {})
            if not matches and _drops(rule) and saddr.get("right") == source and spared <= {"lo", interface} and spared:
                return True
            if any("accept" in part for part in rule):
                break
    return False


def led_elsewhere(text: str) -> list[str]:
    """Every rule of a ruleset, in whatever chain, that gives packets another way, destination or source, in words."""
    return [
        f"{what} in {rule['family']} {rule['table']} {rule['chain']}"
        for item in _items(text)
        if (rule := item.get("rule"))
        for part in rule["expr"]
        if (what := _leads(part))
    ]


def _items(text: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(text)["nftables"]
    except (ValueError, KeyError):
        raise AssertionError("nft says nothing: no rules, or nftables is not installed") from None
    return found


def _leads(part: dict[str, Any]) -> str:
    """How one expression of a rule leads packets elsewhere; "" when it does not."""
    for word in _LEADS:
        if word in part:
            to = part[word] if isinstance(part[word], dict) else {}
            where = [str(to[key]) for key in ("addr", "port", "dev") if isinstance(to.get(key), str | int)]
            return f"{word} to {', '.join(where)}" if where else word
    if "xt" in part:
        name = (part["xt"] or {}).get("name", "")
        # of what nft cannot translate it may say no name: then nobody knows what it does
        return name.lower() if name in _TARGETS else "" if name else "a rule of iptables"
    changed = part.get("mangle", {}).get("key", {})
    # an address or a port that is written over needs no chain for NAT
    payload = changed.get("payload", {}) if isinstance(changed, dict) else {}
    field = payload.get("field", "part of it" if payload else "")
    return f"another {field}" if field in ("saddr", "daddr", "sport", "dport", "part of it") else ""


def _at(chains: list[Chain], hook: str, family: str) -> list[Chain]:
    return [c for c in chains if c.hook == hook and c.kind == "filter" and c.family in ("inet", family)]


def _drops(rule: list[dict[str, Any]]) -> bool:
    return any("drop" in part or "reject" in part for part in rule)


def _closes_to(chain: Chain, address: str, family: str) -> bool:
    for rule in chain.rules:
        matches = [match for part in rule if (match := part.get("match"))]
        if any(word in part for part in rule for word in ("accept", "jump", "goto", "queue", "vmap", "return")):
            if not any(_spares(match, address, family) for match in matches):
                return False
        elif _drops(rule) and all(_is_for(match, address, family) for match in matches):
            return True
    return chain.policy == "drop"


def _spares(match: dict[str, Any], address: str, family: str) -> bool:
    """Whether what a match is about is surely not somebody's question to `address`: it is root's, an answer, a ping,
    goes by loopback, to another address, or is of the other family."""
    left, wanted = match["left"], match["right"]
    if match.get("op") == "!=":
        return False
    meta, payload = left.get("meta", {}).get("key"), left.get("payload", {})
    if meta == "skuid":
        return wanted in (0, "root")
    if meta in ("oif", "oifname"):
        return bool(wanted == "lo")
    if payload.get("field") == "daddr":
        return payload["protocol"] != family or (isinstance(wanted, str) and wanted[0] != "@" and wanted != address)
    return meta not in ("iif", "iifname") and "saddr" != payload.get("field") != "dport" and _narrows(match, family)


def _is_for(match: dict[str, Any], address: str, family: str) -> bool:
    payload = match["left"].get("payload", {})
    to = (payload.get("protocol"), payload.get("field")) == (family, "daddr")
    return to and match.get("op") != "!=" and match["right"] == address


def _ends_with_drop(chain: Chain) -> bool:
    return bool(chain.rules) and _drops(chain.rules[-1]) and not any("match" in part for part in chain.rules[-1])


def _accepts_everything(rule: list[dict[str, Any]], family: str) -> bool:
    """Whether a rule accepts (or sends on to rules that are not looked at) what nobody has named."""
    if not any(word in part for part in rule for word in ("accept", "jump", "goto", "queue", "vmap")):
        return False
    return not any(_narrows(match, family) for part in rule if (match := part.get("match")))


def _narrows(match: dict[str, Any], family: str) -> bool:
    """Whether a match lets pass only named ports, named sources, answers, pings, loopback, or the other family."""
    left, wanted = match["left"], match["right"]
    if match.get("op") == "!=":
        return False
    if "ct" in left:
        return left["ct"].get("key") == "state" and _words(wanted) <= _ANSWERS
    if "meta" in left:
        key = left["meta"]["key"]
        if key in ("nfproto", "protocol"):
            return (family == "ip6") != (str(wanted) in ("ipv6", "ip6"))
        return (key in ("iif", "iifname") and wanted == "lo") or (key == "l4proto" and _words(wanted) <= _PINGS)
    protocol, field = (left.get("payload", {}).get(word) for word in ("protocol", "field"))
    if field in ("protocol", "nexthdr"):
        return _words(wanted) <= _PINGS
    if protocol in _PINGS or (protocol in ("ip", "ip6") and protocol != family):
        return True
    # a port or an address is a limit only when it is not a range over (nearly) all of them
    return field in ("dport", "saddr", "daddr") and not _is_wide(wanted)


def _is_wide(wanted: Any) -> bool:
    if isinstance(wanted, dict) and "prefix" in wanted:
        return bool(wanted["prefix"].get("len") == 0)
    if isinstance(wanted, dict) and "range" in wanted:
        first, last = wanted["range"]
        return not isinstance(first, int) or last - first > 1000
    return isinstance(wanted, dict) and "set" in wanted and any(_is_wide(item) for item in wanted["set"])


def _words(wanted: Any) -> set[str]:
    if isinstance(wanted, dict):
        wanted = wanted.get("set", [str(wanted)])
    return {str(word) for word in wanted} if isinstance(wanted, list) else {str(wanted)}
