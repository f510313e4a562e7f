"""Whether people hear of what goes wrong. Nothing is sent here: what was sent or tried last is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bastide.layout.alerts import PORT, PROGRAM, UNIT
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import alerts
from tests.verify.probes.systemd import boots, run_by, told_besides, units
from tests.verify.probes.updates import parsed
from tests.verify.probes.world import Observation, Output, declared
from tests.verify.programs import DIGESTS

# a round takes 15 seconds, and where every way hangs a minute more
_ROUND_AGE = 120
# each way is tried once an hour
_WAY_AGE = 2 * 3600
Note = Callable[[str], None]


@pytest.mark.control("alerts-01")
@pytest.mark.probe(alerts.seen)
def test_a_machine_looks_at_itself(observation: Observation, settings: Settings, note: Note) -> None:
    """The last round was over a moment ago and saw everything; the program is this project's, byte for byte."""
    seen = _seen(observation.data)
    wrong = []
    if seen["round"] is None:
        wrong.append("it remembers no look at itself")
    else:
        age = seen["now"] - seen["round"]
        note(f"last look {age:.0f} s ago")
        if not 0 <= age <= _ROUND_AGE:
            wrong.append(f"the last look was {age:.0f} s ago")
    if seen["blind"]:
        wrong.append(f"it cannot look at its {' and '.join(seen['blind'])}")
    full = declared(settings.alerts).disk_percent
    if seen["config"].get("disk_percent") != full:
        wrong.append(f"a disk is full for it at {seen['config'].get('disk_percent')} %, not at {full}")
    if seen["digest"] not in DIGESTS[PROGRAM]:
        wrong.append("the program is another one")
    judge(wrong)


@pytest.mark.control("alerts-01")
@pytest.mark.probe(alerts.unit)
def test_it_runs_after_a_reboot(observation: Observation, note: Note) -> None:
    """The unit is active now and enabled, and runs the program."""
    shown = units(observation.data)[UNIT]
    wrong = boots(shown)
    if shown["LoadState"] == "loaded" and run_by(shown) != f"/usr/bin/python3 -I {PROGRAM} watch":
        wrong.append(f"{UNIT} does something else")
    wrong += told_besides(shown)
    judge(wrong)
    note(f"it runs `{run_by(shown)}`")


@pytest.mark.control("alerts-01")
@pytest.mark.probe(alerts.seen)
def test_every_way_is_open(observation: Observation, settings: Settings, note: Note) -> None:
    """Each declared way took a message or a login within two hours, and leads to the declared people."""
    seen, wanted = _seen(observation.data), declared(settings.alerts)
    ways = [*(["mail"] if wanted.mail else []), *(["webhook"] if wanted.webhook else [])]
    wrong = []
    for way in ways:
        state = seen["ways"].get(way)
        if not state:
            wrong.append(f"{way} was never tried")
            continue
        age = seen["now"] - max(state["at"] or 0, state["checked"] or 0)
        if not state["ok"]:
            wrong.append(f"no message gets out by {way}: {state['said']}")
        if not 0 <= age <= _WAY_AGE:
            wrong.append(f"{way} was tried {age / 3600:.0f} h ago")
        note(f"{way} {age / 60:.0f} min ago: {str(state['said']).partition(',')[0]}")
    mail = seen["config"].get("mail") or {}
    if wanted.mail and mail.get("recipients") != list(wanted.mail.recipients):
        wrong.append("mail goes to other people than declared")
    if wanted.mail and (mail.get("host"), mail.get("port")) != (wanted.mail.host, wanted.mail.port):
        wrong.append(f"mail goes by another relay than declared: {mail.get('host')}")
    judge(wrong)


@pytest.mark.control("alerts-02")
@pytest.mark.probe(alerts.seen)
def test_it_reads_every_other_machine(
    observation: Observation, machine: Machine, inventory: Inventory, settings: Settings, note: Note
) -> None:
    """The page of each other machine is fresh here, and each of them reads this one's."""
    seen = _seen(observation.data)
    others = [other.name for other in inventory if other.name != machine.name]
    own = seen["pages"].get(machine.name)
    wrong = [] if own else ["it shows the others nothing"]
    for name in others:
        page = seen["pages"].get(name)
        if own and own["sees"].get(name) is not True:
            wrong.append(f"it does not read {name}")
        if not page:
            wrong.append(f"{name} shows nothing here")
        elif page["sees"].get(machine.name) is not True:
            wrong.append(f"{name} does not read it")
    config = seen["config"]
    cluster = config.get("cluster") or {}
    if config.get("peers") != {name: settings.mesh[name] for name in others}:
        wrong.append("it does not look at every other machine")
    if config.get("order") != settings.one_at_a_time:
        wrong.append("it has another order of who tells")
    if cluster.get("sites", []) != (list(settings.sites) if settings.postgres else []):
        wrong.append("it looks at the databases of other sites")
    if config.get("silent_minutes") != declared(settings.alerts).silent_minutes:
        wrong.append("it waits for another time")
    judge(wrong)
    note(f"reads {' and '.join(others)}; {config['order'][0]} tells first")


@pytest.mark.control("alerts-03")
@pytest.mark.probe(alerts.seen)
def test_nobody_else_reads_it(observation: Observation, machine: Machine, settings: Settings, note: Note) -> None:
    """It listens at its address of the mesh alone; at no other address of any machine it answers; it takes nothing."""
    seen = _seen(observation.data)
    listening, wrong = set(seen["listening"]), list[str]()
    if not seen["pages"].get(machine.name):
        wrong.append("it does not answer in the mesh either: silence proves nothing")
    if more := listening - {f"{settings.mesh[machine.name]}:{PORT}"}:
        wrong.append(f"it listens at {', '.join(sorted(more))}")
    if reached := sorted(name for name, open_ in seen["elsewhere"].items() if open_):
        wrong.append(f"it is reached outside of the mesh: {', '.join(reached)}")
    if seen["posted"] not in (405, 501):
        wrong.append(f"it takes what is sent to it ({seen['posted']})")
    judge(wrong)
    note(f"listens at {', '.join(sorted(listening))} alone")


@pytest.mark.control("alerts-04")
@pytest.mark.probe(alerts.everywhere)
def test_the_signal_is_sent(observation: Observation, settings: Settings, note: Note) -> None:
    """The last call that was answered is not older than two of them are apart."""
    wanted = declared(declared(settings.alerts).heartbeat)
    calls = {name: _seen(output) for name, output in observation.data.items()}
    ages = {
        name: seen["now"] - state["at"]
        for name, seen in calls.items()
        if (state := seen["ways"].get("heartbeat")) and state["ok"]
    }
    assert ages, "no machine's call was answered"
    name, age = min(ages.items(), key=lambda item: item[1])
    note(f"{name} called {age:.0f} s ago")
    assert age <= 2 * wanted.every_minutes * 60 + _ROUND_AGE, f"the last call was {age / 60:.0f} minutes ago"


def _seen(output: Output) -> Any:
    return parsed(output, "its alerts cannot be looked at")
