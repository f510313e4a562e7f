"""Labels and label selectors, as published (docs.hetzner.cloud, "Labels" and "Label Selector")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lab.cloud.errors import invalid_input

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?"
_PREFIX = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_KEY = rf"(?:{_PREFIX}/)?{_NAME}"
_VALUE = rf"(?:{_NAME})?"

_TERMS = {
    "set": re.compile(rf"(?P<key>{_KEY})\s+(?P<how>in|notin)\s*\((?P<values>[^()]*)\)"),
    "equal": re.compile(rf"(?P<key>{_KEY})\s*(?P<how>==|!=|=)\s*(?P<value>{_VALUE})"),
    "absent": re.compile(rf"!\s*(?P<key>{_KEY})"),
    "present": re.compile(rf"(?P<key>{_KEY})"),
}

Match = Callable[[Mapping[str, str]], bool]


def mistakes(labels: Mapping[str, str]) -> list[str]:
    """What is wrong with these labels: nothing, or a sentence for each mistake."""
    found = []
    for key, value in labels.items():
        prefix = key.rpartition("/")[0]
        if not re.fullmatch(_KEY, key) or len(prefix) > 253:
            found.append(f"label key '{key}' is not valid")
        elif prefix == "hetzner.cloud":
            found.append(f"label key '{key}' has the reserved prefix hetzner.cloud/")
        if not re.fullmatch(_VALUE, value):
            found.append(f"label value '{value}' is not valid")
    return found


def selector(text: str, field: str = "label_selector") -> Match:
    """Understand a selector such as `env in (a,b),!old,role==db`; returns a test for labels.

    Terms are joined by "and". Raises `invalid_input` for `field` when it cannot be understood.
    """
    terms = [_term(part.strip(), field) for part in re.split(r",(?![^(]*\))", text)]
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str, field: str) -> Match:
    for kind, pattern in _TERMS.items():
        if found := pattern.fullmatch(text):
            return _match(kind, found, field)
    raise invalid_input(field, f"cannot understand '{text}'")


def _match(kind: str, found: re.Match[str], field: str) -> Match:
    key = found["key"]
    if kind == "present":
        return lambda labels: key in labels
    if kind == "absent":
        return lambda labels: key not in labels
    if kind == "equal":
        value = found["value"]
        if found["how"] == "!=":
            # as in Kubernetes, from where the language comes: a thing without the key is unequal
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    values = [value.strip() for value in found["values"].split(",")]
    if not all(re.fullmatch(_VALUE, value) for value in values):
        raise invalid_input(field, f"cannot understand '{found[0]}'")
    if found["how"] == "notin":
        return lambda labels: labels.get(key) not in values
    return lambda labels: labels.get(key) in values
