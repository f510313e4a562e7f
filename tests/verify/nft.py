"""Reads `nft -j list ruleset` (libnftables-json(5)): the rules that the kernel has, not the file they came from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

# what narrows a rule: with one of these in it, an `accept` is not a door for everybody
_NARROW_META = {"iif", "iifname", "oif", "oifname", "iifgroup", "iiftype", "l4proto", "skuid", "skgid", "mark"}


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
    try:
        items = json.loads(text)["nftables"]
    except (ValueError, KeyError):
        raise AssertionError("nft says nothing: no rules, or nftables is not installed") from None
    chains: dict[tuple[str, str, str], Chain] = {}
    for item in items:
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


def open_doors(chains: list[Chain], hook: str, family: str) -> bool:
    """Whether the chains that drop by default have a rule that accepts everything of this family."""
    dropping = [chain for chain in _at(chains, hook, family) if chain.policy == "drop" or _ends_with_drop(chain)]
    return all(any(_is_door(rule, family) for rule in chain.rules) for chain in dropping)


def drops_address(chains: list[Chain], hook: str, address: str) -> bool:
    """Whether a rule at this hook drops whatever goes to `address`."""
    return any(
        _drops(rule) and address in json.dumps(rule) for chain in _at(chains, hook, "ip") for rule in chain.rules
    )


def _at(chains: list[Chain], hook: str, family: str) -> list[Chain]:
    return [c for c in chains if c.hook == hook and c.kind == "filter" and c.family in ("inet", family)]


def _drops(rule: list[dict[str, Any]]) -> bool:
    return any("drop" in part or "reject" in part for part in rule)


def _ends_with_drop(chain: Chain) -> bool:
    return bool(chain.rules) and _drops(chain.rules[-1]) and not any("match" in part for part in chain.rules[-1])


def _is_door(rule: list[dict[str, Any]], family: str) -> bool:
    if not any("accept" in part for part in rule):
        return False
    for part in rule:
        match = part.get("match")
        if match is None:
            continue
        left = match["left"]
        if "meta" in left and left["meta"]["key"] in ("nfproto", "protocol"):
            right = str(match["right"])
            if (family == "ip6") == (right in ("ipv6", "ip6")):
                continue
            return False
        # the source of a rule is a limit only when it is not the whole internet
        if "payload" in left and "prefix" in str(match["right"]) and match["right"].get("prefix", {}).get("len") == 0:
            continue
        if "meta" in left and left["meta"]["key"] not in _NARROW_META:
            continue
        return False
    return True
