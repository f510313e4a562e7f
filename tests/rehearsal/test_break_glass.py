"""docs/how-to/break-glass.md, followed to the letter: nobody gets in any more, then somebody does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bastide.console import run
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "flow"

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "break-glass.md"


@pytest.mark.full("drift")
def test_a_cloud_firewall_in_the_way(rehearsal: Rehearsal) -> None:
    """Somebody emptied its rules at the console. The page's commands need the API only."""
    (found,) = rehearsal.api("GET", "/v1/firewalls")["firewalls"]
    rehearsal.api("POST", f"/v1/firewalls/{found['id']}/actions/set_rules", {"rules": []})
    try:
        wait_for(lambda: not _gets_in(rehearsal), "the way is closed")
        rehearsal.make("infra")
        assert not _gets_in(rehearsal), "a plain `make infra` does not see what was changed at the console"
    finally:
        script = "\n".join(commands_below("A cloud firewall in the way")).replace("NAME", rehearsal.stack)
        run(["bash", "-ec", script], cwd=rehearsal.root, env=rehearsal.env, timeout=300)
    wait_for(lambda: _gets_in(rehearsal), "the way is open again")
    (found,) = rehearsal.api("GET", "/v1/firewalls")["firewalls"]
    assert [rule["port"] for rule in found["rules"] if rule["protocol"] == "tcp"] == ["22"]
    rehearsal.pulumi("preview", "--expect-no-changes")


def commands_below(heading: str) -> list[str]:
    """The indented lines of a section of the page: what a user copies."""
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    found = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    assert found
    return [line for line in found if not line.startswith("#")]


def _gets_in(rehearsal: Rehearsal) -> bool:
    words = ["ssh", "-F", str(rehearsal.build / "ssh_config"), "-o", "BatchMode=yes", "-o", "ControlPath=none"]
    done = run([*words, "-o", "ConnectTimeout=3", "primary", "true"], cwd=rehearsal.root, check=False, timeout=20)
    return done.ok
