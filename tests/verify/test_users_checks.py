"""The account of the checks: it opens no session, and is root for the listed scripts and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bastide.controls import count
from bastide.layout.users import GATE
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import users_checks
from tests.verify.probes.world import Observation

_OURS = ("CANARY", "/nonexistent", "PYTHON", "ENV=")


@pytest.mark.control("users-06")
@pytest.mark.probe(users_checks.tried)
def test_sudo_lets_the_checks_run_one_program(observation: Observation, note: Callable[[str], None]) -> None:
    """sudo lets the checks' account run one program, without a word and with nothing of its environment."""
    seen = observation.data
    assert seen, "there is no such account"
    wrong = []
    if seen["rights"] != [f'(root) NOPASSWD: {GATE} ""']:
        wrong.append(f"sudo allows: {'; '.join(seen['rights']) or 'nothing'}")
    if allowed := [what for what, code in seen["sudo"].items() if code == 0]:
        wrong.append(f"sudo did not refuse: {', '.join(allowed)}")
    if not seen["environment"]:
        wrong.append("a listed script does not run")
    if kept := [word for word in _OURS if word in seen["environment"]]:
        wrong.append(f"what a client sets reaches a script: {', '.join(kept)}")
    judge(wrong)
    note(f"{count(len(seen['sudo']), 'way')} tried to become root, all refused")


@pytest.mark.control("users-06")
@pytest.mark.probe(users_checks.tried)
def test_nothing_runs_that_is_not_listed(observation: Observation, note: Callable[[str], None]) -> None:
    """The program runs a listed script, and refuses any other text and what is no word for one."""
    seen = observation.data
    assert seen, "there is no such account"
    wrong = [f"the account can write {', '.join(seen['writable'])}"] if seen["writable"] else []
    if ran := [what for what, done in seen["scripts"].items() if done]:
        wrong.append(f"it runs what is not listed: {', '.join(ran)}")
    if seen["words"]:
        wrong.append(f"it takes as words: {', '.join(seen['words'])}")
    if "root:x:0:0:" not in seen["works"]:
        wrong.append("it does not run a listed script: that it refuses others proves nothing")
    if unknown := len(seen["unknown"]):
        wrong.append(f"{count(unknown, 'script')} in the list that these checks do not have (next: `make deploy`)")
    judge(wrong)
    note(f"{count(len(seen['listed']), 'script')} listed; {len(seen['scripts'])} others refused")


@pytest.mark.control("users-06")
@pytest.mark.probe(users_checks.opened)
def test_its_keys_open_that_program_alone(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """A key of the account starts that program, whatever is asked for: no shell, no terminal, no forwarding."""
    account = settings.users.verification
    assert account, "the stack file declares none"
    lines = [line.partition(" ")[2] for line in observation.data.keys.text.splitlines()]
    own = [line for line in lines if any(" ".join(key.split()[:2]) in line for key in account.keys)]
    assert own, "none of its keys is there"
    wrong = []
    for line in own:
        # sshd(8), AUTHORIZED_KEYS FILE FORMAT: options with commas between them come first
        options = re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", line.partition(" ssh-")[0].partition(" sk-")[0])
        if sorted(options) != sorted(("restrict", f'command="{GATE}"')):
            wrong.append("a key opens more than the one program")
    for what, done in observation.data.sessions.items():
        refused = not done.ok and (what != "a terminal" or "PTY allocation request failed" in done.stderr)
        if "Offering public key" not in done.stderr:
            wrong.append(f"{what} was not tried")
        elif not refused:
            wrong.append(f"its key opens {what}")
    judge(wrong)
    tried = len(observation.data.sessions)
    note(count(len(own), "key") + (f"; {count(tried, 'session')} tried with it, all refused" if tried else ""))
