"""A request and its answer, without HTTP: what the collections' modules get and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.cloud.errors import not_found

if TYPE_CHECKING:
    from lab.cloud.context import Cloud


@dataclass(frozen=True)
class Call:
    """`path`: values of the URL's placeholders; `query`: parameters in their order; `body`: the JSON object."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Sequence[tuple[str, str]] = ()
    body: dict[str, Any] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """A query parameter, or None. An empty one counts as not given, as with the real API."""
        return next((value for key, value in self.query if key == name and value), None)

    def all(self, name: str) -> list[str]:
        """All values of a query parameter that may be given several times."""
        return [value for key, value in self.query if key == name and value]

    def id(self, what: str, name: str = "id") -> int:
        """A number of the URL. Raises `not_found` when it is none: the real API knows no such page either."""
        text = self.path[name]
        if not text.isdecimal() or len(text) > 16:
            raise not_found(what, text)
        return int(text)


@dataclass(frozen=True)
class Reply:
    """Status and JSON; None is an empty answer (204)."""

    status: int
    body: dict[str, Any] | None = None


Handler = Callable[["Cloud", Call], Reply]
