"""Reading a request's body: types and limits are checked, and all mistakes are answered at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from lab.cloud import labels as label_rules
from lab.cloud.errors import invalid_fields

T = TypeVar("T")


class Fields:
    """A JSON object of a request. Read what is wanted, then call `check`.

    A reader of a wrong field notes the mistake and returns an empty value; `check` raises `invalid_input` with all of
    them. Unknown fields are ignored, as the real API does.
    """

    def __init__(self, body: dict[str, Any], prefix: str = "", mistakes: dict[str, list[str]] | None = None) -> None:
        self._body = body
        self._prefix = prefix
        self._mistakes: dict[str, list[str]] = mistakes if mistakes is not None else {}

    def check(self) -> None:
        """Raise `invalid_input` when any field read so far was wrong."""
        if self._mistakes:
            raise invalid_fields(self._mistakes)

    def wrong(self, name: str, message: str) -> None:
        """Note a mistake that only the caller can see."""
        self._mistakes.setdefault(self._prefix + name, []).append(message)

    def has(self, name: str) -> bool:
        """Whether the field was given, and not as null."""
        return self._body.get(name) is not None

    def refuse(self, name: str, message: str) -> None:
        """The field must not be given."""
        if self.has(name):
            self.wrong(name, message)

    def text(self, name: str, *, longest: int = 255, choices: Collection[str] = ()) -> str:
        """A text that must be there and not be empty."""
        value = self._typed(name, str, "a string", required=True)
        if value is None:
            return ""
        if not value:
            self.wrong(name, "must not be empty")
        elif len(value) > longest:
            self.wrong(name, f"is too long (at most {longest} characters)")
        elif choices and value not in choices:
            self.wrong(name, f"must be one of: {', '.join(choices)}")
        return value

    def maybe_text(self, name: str, *, longest: int = 255) -> str | None:
        """A text, or None when it was not given."""
        value = self._typed(name, str, "a string")
        if value is not None and len(value.encode()) > longest:
            self.wrong(name, f"is too long (at most {longest} bytes)")
        return value

    def number(self, name: str) -> int:
        """A whole number that must be there."""
        return self._typed(name, int, "an integer", required=True) or 0

    def maybe_number(self, name: str) -> int | None:
        """A whole number, or None when it was not given."""
        return self._typed(name, int, "an integer")

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._typed(name, bool, "a boolean")
        return default if value is None else value

    def maybe_flag(self, name: str) -> bool | None:
        """True, false, or None when it was not given."""
        return self._typed(name, bool, "a boolean")

    def reference(self, name: str) -> str:
        """An id or a name, which must be there: the API takes either for types, images, keys and locations."""
        return self.maybe_reference(name) or self._missing(name)

    def maybe_reference(self, name: str) -> str | None:
        """An id or a name, or None when it was not given."""
        value = self._body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.wrong(name, "must be an ID or a name")
            return None
        return str(value)

    def references(self, name: str) -> list[str]:
        """A list of ids or names; empty when not given."""
        return self._items(name, lambda x: isinstance(x, str | int) and not isinstance(x, bool), str, "an ID or a name")

    def numbers(self, name: str) -> list[int]:
        """A list of whole numbers; empty when not given."""
        return self._items(name, lambda x: isinstance(x, int) and not isinstance(x, bool), int, "an integer")

    def texts(self, name: str) -> list[str]:
        """A list of texts; empty when not given."""
        return self._items(name, lambda x: isinstance(x, str), str, "a string")

    def objects(self, name: str, *, required: bool = False) -> list[Fields]:
        """A list of JSON objects; empty when not given."""
        if required and not self.has(name):
            self._missing(name)
        found = self._items(name, lambda x: isinstance(x, dict), lambda x: x, "an object")
        return [Fields(x, f"{self._prefix}{name}.{i}.", self._mistakes) for i, x in enumerate(found)]

    def object(self, name: str) -> Fields:
        """A JSON object; an empty one when not given."""
        value = self._typed(name, dict, "an object")
        return Fields(value or {}, f"{self._prefix}{name}.", self._mistakes)

    def labels(self) -> dict[str, str] | None:
        """The field `labels`, or None when it was not given."""
        value = self._typed("labels", dict, "an object")
        if value is None:
            return None
        if not all(isinstance(x, str) for x in value.values()):
            self.wrong("labels", "must have strings as values")
            return None
        for mistake in label_rules.mistakes(value):
            self.wrong("labels", mistake)
        return value

    def network(self, name: str) -> ipaddress.IPv4Network | None:
        """A private or public IPv4 range such as 10.0.0.0/16, or None when it was not given or is wrong."""
        value = self.maybe_text(name)
        if value is None:
            return None
        try:
            return ipaddress.IPv4Network(value)
        except ValueError as error:
            self.wrong(name, f"is not an IPv4 range: {error}")
            return None

    def _typed(self, name: str, kind: type[T], called: str, *, required: bool = False) -> T | None:
        value = self._body.get(name)
        if value is None:
            if required:
                self._missing(name)
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.wrong(name, f"must be {called}")
            return None
        return value

    def _items(self, name: str, fits: Callable[[Any], bool], make: Callable[[Any], T], called: str) -> list[T]:
        value = self._typed(name, list, "a list") or []
        if not all(fits(x) for x in value):
            self.wrong(name, f"must be a list, each {called}")
            return []
        return [make(x) for x in value]

    def _missing(self, name: str) -> str:
        if self._prefix + name not in self._mistakes:
            self.wrong(name, "is required")
        return ""
