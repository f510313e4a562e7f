"""What `pulumi preview --json` says: what `pulumi up` would change at the provider.

With a refresh the provider is asked, too; the state is not written.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bastide.console import run, tail_of
from bastide.errors import StackError
from bastide.settings import Settings
from hosts.commands.comparison.changes import ResourceChange

_PULUMI_SECONDS = 300.0
_SERVER = "hcloud:index/server:Server"
# steps of a preview that change nothing at the provider
_IDLE = {"same", "refresh", "read", "read-replacement", "discard"}


def preview(stack: str, root: Path, *, refresh: bool) -> list[dict[str, Any]]:
    """All steps of a preview. Raises `StackError` when Pulumi refuses."""
    words = ["pulumi", "preview", "--json", "--show-sames", "--non-interactive", "--stack", stack]
    done = run([*words, *(["--refresh"] if refresh else [])], cwd=root, check=False, timeout=_PULUMI_SECONDS)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {}
    if not done.ok:
        said = "".join(item["message"] for item in report.get("diagnostics", []) if item.get("severity") == "error")
        raise StackError(
            f"`pulumi preview` refuses:\n{tail_of(said or done.stderr)}",
            f"mend that; `make doctor stack={stack}` helps",
        )
    steps: list[dict[str, Any]] = report.get("steps", [])
    return steps


def resource_changes(steps: list[dict[str, Any]]) -> Iterator[ResourceChange]:
    """The steps of a `pulumi preview --json` that would change something."""
    for step in steps:
        if step["op"] in _IDLE:
            continue
        kind, name = str(step["urn"]).split("::")[-2:]
        kind = kind.rpartition("$")[2].rpartition(":")[2]
        if step["op"] == "update":
            yield ResourceChange("update", kind, name, _input_diff(step))
        else:
            yield ResourceChange(str(step["op"]), kind, name)


def type_changes(steps: list[dict[str, Any]], settings: Settings) -> Iterator[ResourceChange]:
    """Servers of another type than the stack file says, which is no step of Pulumi's: `make resize` changes a type."""
    for step in steps:
        kind, name = str(step["urn"]).split("::")[-2:]
        now = ((step.get("oldState") or {}).get("outputs") or {}).get("serverType")
        if kind.endswith(_SERVER) and now and name in settings.made and now != settings.made[name].type:
            yield ResourceChange("resize", "Server", name, (f"type: {now} -> {settings.made[name].type}",))


def _input_diff(step: Mapping[str, Any]) -> tuple[str, ...]:
    """What changes among the inputs; Pulumi has masked what is secret."""
    old, new = (_shown(step.get(state, {}).get("inputs") or {}) for state in ("oldState", "newState"))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    if not lines:
        return tuple(f"{name}: secret or computed, differs" for name in step.get("detailedDiff") or {})
    return tuple(line for line in lines if not line.startswith("@@"))


def _shown(inputs: Any) -> list[str]:  # noqa: ANN401 - JSON
    return json.dumps(_without_marks(inputs), indent=1, sort_keys=True).splitlines()


def _without_marks(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Without the provider's own notes (`__defaults`)."""
    if isinstance(value, dict):
        return {key: _without_marks(item) for key, item in value.items() if not key.startswith("__")}
    return [_without_marks(item) for item in value] if isinstance(value, list) else value
