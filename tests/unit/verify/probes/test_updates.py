"""What is expected of updates, and what the script that looks at what waits makes of a machine."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bastide.settings import Source
from deploys.updates.deploy import patterns
from tests.unit.bastide.proofs import SETTINGS
from tests.verify import test_updates as checked
from tests.verify.probes.remote import pending
from tests.verify.probes.updates import upgraded

SECURITY = ("Debian", "Debian-Security", "archive.example", "stable-security", "trixie-security")
STABLE = ("Debian", "Debian", "archive.example", "stable", "trixie")
OURS = ("somebody", "somebody", "archive.example.eu", "main", "trixie-main")


def test_what_a_deploy_writes_is_what_a_check_expects() -> None:
    """Two hands wrote it: where one was changed alone, this says so before a machine does."""
    at = {"url": "https://archive.example.eu:8443/debian", "suite": "trixie-main", "key": "not needed here"}
    sources = {name: Source.model_construct(**at, upgrade=name == "ours") for name in ("ours", "held")}
    for stable in (True, False):
        wanted = SETTINGS.updates.model_copy(update={"stable": stable, "sources": sources})
        assert checked._patterns(wanted) == set(patterns(wanted))
    assert upgraded(wanted) == [("archive.example.eu", "trixie-main")]


def version(text: str, *sources: tuple[str, str, str, str, str]) -> Any:
    files = [
        types.SimpleNamespace(origin=origin, label=label, site=site, archive=archive, codename=codename)
        for origin, label, site, archive, codename in sources
    ]
    return types.SimpleNamespace(ver_str=text, file_list=[(file, 0) for file in files])


def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *versions: Any, memory: str = "{}") -> dict[str, Any]:
    """What is pending where one package is installed in its first version."""
    package = types.SimpleNamespace(name="curl", current_ver=versions[0], version_list=list(versions))
    removed = types.SimpleNamespace(name="gone", current_ver=None, version_list=list(versions))
    module = types.ModuleType("apt_pkg")
    module.init = lambda: None
    module.Cache = lambda _: types.SimpleNamespace(packages=[package, removed])
    module.version_compare = lambda a, b: (a > b) - (a < b)
    monkeypatch.setitem(sys.modules, "apt_pkg", module)
    file = tmp_path / "memory.json"
    file.write_text(memory)
    return pending.pending({"memory": str(file), "archives": [["archive.example.eu", "trixie-main"]], "by_turns": []})


def test_a_security_update_waits_whatever_apt_would_choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = found(monkeypatch, tmp_path, version("8.1", STABLE), version("8.2", SECURITY), memory='{"looked": 5}')
    assert seen["packages"] == {"curl": {"installed": "8.1", "since": seen["now"]}}
    assert seen["looked"] == 5
    known = json.dumps({"looked": 5, "packages": {"curl": 3.5}})
    assert found(monkeypatch, tmp_path, version("8.1"), version("8.2", OURS), memory=known)["packages"] == {
        "curl": {"installed": "8.1", "since": 3.5}
    }


def test_what_is_no_security_update_does_not_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    older, other = version("8.0", SECURITY), version("8.2", STABLE)
    seen = found(monkeypatch, tmp_path, version("8.1", SECURITY), older, other, memory="broken")
    assert seen["packages"] == {}
    assert seen["looked"] is None
