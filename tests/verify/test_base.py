"""What every machine has: a clock that is right, bounded logs, a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import base
from tests.verify.probes.world import Observation

_MONTH, _YEAR = 2_629_800, 31_557_600  # systemd.time(7), as all of these units
_UNITS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
    **dict.fromkeys(("M", "month", "months"), _MONTH),
    **dict.fromkeys(("y", "year", "years"), _YEAR),
}


@pytest.mark.control("base-01")
@pytest.mark.probe(base.clock)
def test_clock_is_synchronised(observation: Observation, note: Callable[[str], None]) -> None:
    """The kernel says that its clock follows a time source."""
    kind, _, synchronised = observation.data.text.partition("\n")
    if kind != "none":
        not_provable_here(f"the machine is a container ({kind}) and shares the clock of the machine it runs on")
    note(f"NTPSynchronized={synchronised}")
    assert synchronised == "yes", "the clock is not synchronised"


@pytest.mark.control("base-02")
@pytest.mark.probe(base.journal)
def test_journal_size_is_limited(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The running journal keeps to the declared size on disk."""
    usages = [json.loads(line) for line in observation.data.text.splitlines() if line.startswith("{")]
    kept = [usage for usage in usages if usage["JOURNAL_NAME"] == "System Journal"]
    assert kept, "the journal is not kept on disk: journald names no system journal since the machine started"
    limit = int(kept[-1]["MAX_USE"]) / 1024**2
    note(f"limit {limit:.0f} MB, in use {int(kept[-1]['CURRENT_USE']) / 1024**2:.0f} MB")
    assert limit <= settings.base.journal.max_use_mb, f"journald allows itself {limit:.0f} MB"


@pytest.mark.control("base-02")
@pytest.mark.probe(base.journal)
def test_journal_limits_are_configured(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """The limits of size and age hold from the next start on, too."""
    wanted = settings.base.journal
    values = dict[str, str]()
    for line in observation.data.text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not line.startswith(("{", "#")):
            values[key] = value
    # journald.conf(5): whole files go, so that an entry may be older by what a file spans: a month, if nothing is said
    kept, file = (_seconds(values.get(key, "0")) for key in ("MaxRetentionSec", "MaxFileSec"))
    days = (kept + (file or _MONTH)) / 86400 if kept else 0
    note(", ".join(f"{key}={values.get(key, 'unset')}" for key in ("SystemMaxUse", "MaxRetentionSec", "MaxFileSec")))
    wrong = []
    if values.get("SystemMaxUse") != f"{wanted.max_use_mb}M":
        wrong.append("the size limit is not the declared one")
    if not 0 < days <= wanted.keep_days:
        wrong.append("entries are not removed after the declared number of days")
    judge(wrong)


@pytest.mark.control("base-02")
@pytest.mark.probe(base.kept_journals)
def test_the_limits_are_of_all_that_is_kept(observation: Observation, note: Callable[[str], None]) -> None:
    """journald has read its settings since they were last changed, and there is no journal beside those it limits."""
    lines = observation.data.text.splitlines()
    read = max((int(line.partition("=@")[2]) for line in lines if "=@" in line), default=0)
    assert read, "systemd does not say since when journald runs"
    wrong = []
    for kind, _, rest in (line.partition(" ") for line in lines):
        at, _, path = rest.partition(" ")
        if kind == "written" and int(at) > read:
            wrong.append(f"{path} was changed after journald read it")
        if kind == "other":
            wrong.append(f"a journal that no limit counts for: {rest}")
    judge(wrong)
    note("settings read after their last change; one journal")


@pytest.mark.control("base-02")
@pytest.mark.probe(base.oldest_entry)
def test_no_entry_is_too_old(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The oldest entry of the journal is not older than the limit."""
    assert observation.data.text.isdigit(), "the journal has no entry"
    age = datetime.now(UTC) - datetime.fromtimestamp(int(observation.data.text), UTC)
    note(f"{age.days} days")
    assert age <= timedelta(days=settings.base.journal.keep_days), f"the oldest entry is {age.days} days old"


@pytest.mark.control("base-03")
@pytest.mark.probe(base.names)
def test_name_and_time_zone(
    observation: Observation, machine: Machine, settings: Settings, note: Callable[[str], None]
) -> None:
    """Host name and time zone are the declared ones."""
    name, link, clock, kept, *told = observation.data.text.splitlines()
    zone = link.partition("/zoneinfo/")[2]
    note(f"{name}, {zone}")
    wrong = [f"its host name is {name}"] if name != machine.name else []
    if zone != settings.base.timezone:
        wrong.append(f"its time zone is {zone}")
    if kept != machine.name:
        wrong.append(f"after a restart its host name is {kept}")
    # the link may be right, and the file that it leads to another one
    at, _, offset = clock.partition(" ")
    wanted = datetime.fromtimestamp(int(at), ZoneInfo(settings.base.timezone)).strftime("%z")
    if offset != wanted:
        wrong.append(f"its clock shows {offset}, in {settings.base.timezone} it is {wanted}")
    wrong += [f"what systemd starts keeps another time: {line}" for line in told]
    judge(wrong)


@pytest.mark.control("base-04")
@pytest.mark.probe(base.closed)
def test_nobody_without_rights_reads_them(observation: Observation, note: Callable[[str], None]) -> None:
    """Tried with the account nobody: every log, and the files that say who may log in."""
    lines = observation.data.text.splitlines()
    assert lines, "the logs could not be looked at"
    note(f"{lines[0].removeprefix('= ')} logs")
    judge(f"an account without rights reads {line[2:]}" for line in lines if line.startswith("+ "))


@pytest.mark.control("base-05")
@pytest.mark.probe(base.restarts)
def test_restarts_after_upgrades(observation: Observation, note: Callable[[str], None]) -> None:
    """What needrestart's files come to when it reads them: it asks nobody, and leaves what takes turns alone."""
    lines = observation.data.text.splitlines()
    wrong = [] if "called" in lines else ["upgrades do not call needrestart"]
    if "restart a" not in lines:
        wrong.append(f"needrestart would not restart by itself: {', '.join(lines) or 'it says nothing'}")
    for _, unit, may in (line.split(" ") for line in lines if line.startswith("unit ")):
        # several patterns may be of one unit, and it is not said which of them counts
        if set(may.split(",")) != {"0"}:
            wrong.append(f"needrestart may restart {unit}")
        note(f"{unit} waits for its turn")
    judge(wrong)


@pytest.mark.control("base-06")
@pytest.mark.probe(base.installed)
def test_installed_files_are_the_packages(observation: Observation, note: Callable[[str], None]) -> None:
    """Each file is compared with its package's checksum."""
    found, *differs = observation.data.text.splitlines() or [""]
    assert found.endswith("/debsums"), "debsums is not installed"
    judge(line.removeprefix("debsums: ") for line in differs)
    note("no file differs")


@pytest.mark.control("base-07")
@pytest.mark.probe(base.unneeded)
def test_nothing_is_there_that_nobody_needs(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """Neither a compiler nor one of the packages."""
    lines = observation.data.text.splitlines()
    assert "looked" in lines, "what is installed could not be looked at"
    packages = [line[2:] for line in lines if line.startswith("= ") and line[2:] not in settings.base.packages]
    wrong = [f"{name} is installed, and not declared in settings.base.packages" for name in packages]
    wrong += [f"there is a compiler: {line[2:]}" for line in lines if line.startswith("+ ")]
    judge(wrong)
    note("none of them")


def _seconds(text: str) -> float:
    """Seconds of a systemd time span with one number and unit ("30day")."""
    digits = "".join(character for character in text if character.isdigit())
    unit = text[len(digits) :].strip()
    assert unit in _UNITS, f"{text} is a time that this check cannot read"
    return float(digits or 0) * _UNITS[unit]
