"""Lists: filters, sorting and pages, as published (docs.hetzner.cloud, "Pagination", "Sorting", "Label Selector")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lab.cloud.call import Call, Reply
from lab.cloud.errors import invalid_input
from lab.cloud.labels import selector

_DEFAULT_PER_PAGE = 25
_MOST_PER_PAGE = 50


def listed(
    call: Call,
    name: str,
    items: Iterable[dict[str, Any]],
    *,
    sorts: Sequence[str] = ("id", "name", "created"),
    equal: Sequence[str] = ("name",),
    among: Sequence[str] = (),
    whole: bool = False,
) -> Reply:
    """One page of `items` under the key `name`.

    `sorts` are the fields that `sort` may name, `equal` query parameters that must equal the field of that name,
    `among` those that may be given several times. `whole` is for the one list without pages.
    `label_selector` works where the items have labels.
    """
    kept = list(items)
    if text := call.one("label_selector"):
        match = selector(text)
        kept = [item for item in kept if match(item.get("labels", {}))]
    for field in equal:
        if (wanted := call.one(field)) is not None:
            kept = [item for item in kept if str(item.get(field)) == wanted]
    for field in among:
        if several := call.all(field):
            kept = [item for item in kept if str(item.get(field)) in several]
    for by, backwards in reversed(_orders(call.all("sort"), sorts)):
        kept.sort(key=_key(by), reverse=backwards)
    return Reply(200, {name: kept}) if whole else _page(call, name, kept)


def _key(field: str) -> Callable[[dict[str, Any]], tuple[bool, Any]]:
    return lambda item: (item.get(field) is not None, item.get(field))


def _orders(words: Sequence[str], allowed: Sequence[str]) -> list[tuple[str, bool]]:
    orders = []
    for word in words or ["id"]:
        field, _, way = word.partition(":")
        if field not in allowed or way not in ("", "asc", "desc"):
            raise invalid_input("sort", f"cannot sort by '{word}'")
        orders.append((field, way == "desc"))
    return orders


def _page(call: Call, name: str, items: list[dict[str, Any]]) -> Reply:
    page = _positive(call, "page", 1)
    size = min(_positive(call, "per_page", _DEFAULT_PER_PAGE), _MOST_PER_PAGE)
    last = max(1, -(-len(items) // size))
    pages = {
        "page": page,
        "per_page": size,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(items),
    }
    start = (page - 1) * size
    return Reply(200, {name: items[start : start + size], "meta": {"pagination": pages}})


def _positive(call: Call, name: str, default: int) -> int:
    text = call.one(name)
    if text is None:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise invalid_input(name, "must be a positive number")
    return int(text)
