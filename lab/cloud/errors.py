"""The API's errors, with the codes and statuses that Hetzner publishes (docs.hetzner.cloud, "Errors"), and actions'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bastide.errors import LabError


class ApiError(Exception):
    """An answer that is not what was asked for: HTTP status, published code, a sentence and perhaps details."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = dict(self.details)
        return {"error": error}


class ActionFailed(LabError):
    """The machine side's failure that was asked for, with the code that the action shows."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid_input(field: str, *messages: str) -> ApiError:
    """One field of the request is wrong."""
    return invalid_fields({field: messages})


def invalid_fields(mistakes: Mapping[str, Sequence[str]]) -> ApiError:
    """Several fields are wrong: all of them are named at once."""
    first = "; ".join(f"invalid input in field '{name}': {', '.join(said)}" for name, said in mistakes.items())
    fields = [{"name": name, "messages": list(said)} for name, said in mistakes.items()]
    return ApiError(422, "invalid_input", first, {"fields": fields})


def not_found(what: str, key: int | str) -> ApiError:
    """There is no such thing in this project."""
    return ApiError(404, "not_found", f"{what} with ID '{key}' not found")


def not_unique(message: str, field: str) -> ApiError:
    """Another one has this name, fingerprint ... already."""
    return ApiError(409, "uniqueness_error", message, {"fields": [{"name": field}]})


def protected(what: str, change: str = "deletion") -> ApiError:
    """Protection is on."""
    return ApiError(423, "protected", f"{what} is protected against {change}: switch its {change} protection off first")


def locked(what: str) -> ApiError:
    """An action is running on it."""
    return ApiError(423, "locked", f"{what} is locked: an action is still running on it")


def unsupported(message: str) -> ApiError:
    """Hetzner has it, this local cloud has not."""
    return ApiError(422, "unsupported_error", message)


def limit_exceeded(message: str, limit: str) -> ApiError:
    """One more would be too many."""
    return ApiError(403, "resource_limit_exceeded", message, {"limits": [{"name": limit}]})


def removed(message: str, announcement: str) -> ApiError:
    """Hetzner has taken this away; `announcement` is the page that says so."""
    return ApiError(410, "deprecated_api_endpoint", message, {"announcement": announcement})
