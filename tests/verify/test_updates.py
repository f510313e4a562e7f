"""Whether updates come, and take effect one machine at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import combinations

import pytest

from bastide.layout.etcd import CTL
from bastide.layout.postgres import PROGRAM as PATRONI
from bastide.layout.updates import ALERT_TIMER, LISTS_TIMER, POLICY, PROGRAM, REBOOT_TIMER, UPGRADE_TIMER
from bastide.machines import Inventory, Machine
from bastide.settings import Settings, Updates
from tests.verify.findings import judge
from tests.verify.probes import updates
from tests.verify.probes.systemd import beside, boots, next_of, run_by, told_besides, units
from tests.verify.probes.updates import apt_values, parsed, upgraded
from tests.verify.probes.world import Observation, Output
from tests.verify.programs import DIGESTS, ETCD_TURN, POSTGRES_TURN

_DAY = 86400
_WEEK = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
# upgrades run once a day; a machine that was off at its hour catches up when it is on again
_RUN_AGE = timedelta(days=2)
# Debian's security archive signs its release file anew at least once a week (its Valid-Until is 7 days)
_LIST_AGE = timedelta(days=8)
# a machine looks at what waits every six hours; since when is known only if it does
_LOOK_AGE = timedelta(hours=12)
# as Debian's own 50unattended-upgrades has them
_SECURITY = (
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "origin=Debian,codename=${distro_codename},label=Debian-Security",
)
_STABLE = (
    "origin=Debian,codename=${distro_codename},label=Debian",
    "origin=Debian,codename=${distro_codename}-updates,label=Debian",
)
_WANTED = {
    "APT::Periodic::Enable": "1",
    "APT::Periodic::Update-Package-Lists": "always",
    "APT::Periodic::Unattended-Upgrade": "always",
}


@pytest.mark.control("updates-01")
@pytest.mark.probe(updates.timers)
def test_upgrades_are_due_within_a_day(observation: Observation, note: Callable[[str], None]) -> None:
    """The timers that fetch and install upgrades are active now and after a reboot, and nothing keeps them from it."""
    shown, wrong = units(observation.data), list[str]()
    for timer in (LISTS_TIMER, UPGRADE_TIMER):
        wrong += boots(shown[timer])
        service = shown[timer.replace(".timer", ".service")]
        verb = "install" if timer == UPGRADE_TIMER else "update"
        if service["LoadState"] != "loaded":
            wrong.append(f"{service['Id']} is {service['LoadState']}")
        elif run_by(service) != f"/usr/lib/apt/apt.systemd.daily {verb}":
            wrong.append(f"{service['Id']} does something else")
        wrong += [*told_besides(shown[timer]), *told_besides(service)]
        # Debian's own waits for the network
        more = [
            one for one in beside(service) if not one.startswith("ExecStartPre /usr/lib/apt/apt-helper wait-online")
        ]
        wrong += [f"{service['Id']} has {one} beside it" for one in more]
    due = next_of(shown[UPGRADE_TIMER]) - observation.at.timestamp()
    if due > _DAY + 3600:
        wrong.append(f"the next upgrade is due in {due / _DAY:.1f} days only")
    judge(wrong)
    note(f"next upgrade in {due / 3600:.1f} h")


@pytest.mark.control("updates-01")
@pytest.mark.probe(updates.apt_config)
def test_security_updates_are_among_what_is_installed(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """What apt really reads lets unattended upgrades take Debian's security updates, and leaves no package out."""
    single, lists = apt_values(observation.data)
    wrong = [f"{key} is {single.get(key, 'unset')}" for key, wanted in _WANTED.items() if single.get(key) != wanted]
    taken = {name: lists.get(f"Unattended-Upgrade::{name}", []) for name in ("Origins-Pattern", "Allowed-Origins")}
    if _SECURITY[0] not in taken["Origins-Pattern"]:
        wrong.append("it does not take security updates")
    if undeclared := {*taken["Origins-Pattern"], *taken["Allowed-Origins"]} - _patterns(settings.updates):
        wrong.append(f"it takes more than is declared: {', '.join(sorted(undeclared))}")
    if left_out := lists.get("Unattended-Upgrade::Package-Blacklist", []):
        wrong.append(f"left out: {', '.join(left_out)}")
    if only := lists.get("Unattended-Upgrade::Package-Whitelist", []):
        wrong.append(f"nothing is upgraded but {', '.join(only)}")
    judge(wrong)
    note(f"{len(taken['Origins-Pattern'])} patterns of origins, no package left out")


@pytest.mark.control("updates-01")
@pytest.mark.probe(updates.planted)
def test_a_security_update_would_be_installed(observation: Observation, note: Callable[[str], None]) -> None:
    """With a newer version of every installed package in a planted archive, each would be installed, on any day."""
    seen = parsed(observation.data, "unattended-upgrades cannot say what it would do")
    wrong = [] if seen["installed"] else ["the planted archive has nothing newer: it was not read"]
    reasons: dict[str, list[str]] = {}
    for name, why in seen["left"].items():
        reasons.setdefault(why, []).append(name)
    wrong += [f"would not be upgraded, {why}: {', '.join(sorted(names))}" for why, names in sorted(reasons.items())]
    if seen["days"]:
        wrong.append(f"nothing is upgraded on {', '.join(_WEEK[number] for number in seen['days'])}")
    judge(wrong)
    note(f"{seen['installed']} packages, each would be upgraded, on every day of the week")


@pytest.mark.control("updates-01")
@pytest.mark.probe(updates.last_runs)
def test_upgrades_really_ran(observation: Observation, note: Callable[[str], None]) -> None:
    """The last whole run is at most two days ago, or the machine is not older than that; the lists are not stale."""
    now, *lines = observation.data.text.splitlines()
    ages = {
        path.rpartition("/")[2]: int(now) - int(at) for at, _, path in (x.partition(" ") for x in lines if "/" in x)
    }
    installed = ages.get("unattended-upgrades.list")
    assert installed is not None, "unattended-upgrades is not installed"
    last = ages.get("upgrade-stamp")
    note(
        f"last run {last / 3600:.0f} h ago"
        if last is not None
        else f"installed {installed / 3600:.0f} h ago, no run yet"
    )
    ran, wrong = min(installed, last) if last is not None else installed, list[str]()
    if ran > _RUN_AGE.total_seconds():
        wrong.append(f"no upgrade has run for {ran / _DAY:.0f} days")
    dates = [line.partition("Date: ")[2] for line in lines if line.startswith("Date: ")]
    if not dates:
        wrong.append("no package list of Debian's security archive was ever fetched")
    for date in sorted(dates, key=_signed)[-1:]:
        age = timedelta(seconds=int(now) - _signed(date).timestamp())
        note(f"security list signed {age.total_seconds() / 3600:.0f} h ago")
        if age > _LIST_AGE:
            wrong.append(f"the list of security updates was signed {age.days} days ago")
    judge(wrong)


@pytest.mark.control("updates-01")
@pytest.mark.probe(updates.fetched)
def test_the_security_archive_can_be_reached(observation: Observation, note: Callable[[str], None]) -> None:
    """Fetched as apt fetches, by its own settings, each of Debian's security archives gives its release file now."""
    lines = observation.data.text.splitlines()
    wrong = [f"apt cannot fetch {line[4:]}" for line in lines if line.startswith("not ")]
    judge(wrong if lines else ["apt knows no security archive"])
    note(", ".join(line[4:] for line in lines))


@pytest.mark.control("updates-02")
@pytest.mark.probe(updates.pending)
def test_nothing_waits_for_too_long(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """No package, held or pinned or not, waits for an update longer than allowed, by a memory at most 12 hours old."""
    seen = parsed(observation.data, "what is pending cannot be read")
    # without a memory everything is new
    assert seen["looked"] is not None, "it remembers no look at what waits"
    ago = seen["now"] - seen["looked"]
    wrong = []
    if ago > _LOOK_AGE.total_seconds():
        wrong.append(f"the last look at what waits was {ago / 3600:.0f} hours ago")
    waiting = {f"{name} {found['installed']}": found["since"] for name, found in seen["packages"].items()}
    waiting |= {f"a reboot, since {found['why']}": found["since"] for found in seen["reboot"].values()}
    reboot = "a" if seen["reboot"] else "no"
    note(f"{len(seen['packages'])} security update(s) and {reboot} reboot pending, looked {ago / 3600:.1f} h ago")
    limit = settings.updates.max_pending_days
    late = [
        f"{what} ({(seen['now'] - at) / _DAY:.0f} days)"
        for what, at in waiting.items()
        if seen["now"] - at > limit * _DAY
    ]
    if late:
        wrong.append(f"waiting for too long: {', '.join(late)}")
    judge(wrong)


@pytest.mark.control("updates-02")
@pytest.mark.probe(updates.timers)
def test_somebody_looks_at_what_waits(observation: Observation, note: Callable[[str], None]) -> None:
    """The timer that remembers what is pending and raises the alert is active now and after a reboot."""
    shown = units(observation.data)
    timer, service = shown[ALERT_TIMER], shown[ALERT_TIMER.replace(".timer", ".service")]
    wrong = boots(timer)
    if run_by(service) != f"/usr/bin/python3 -I {PROGRAM} check":
        wrong.append(f"{service['Id']} does something else")
    wrong += [f"{service['Id']} has {one} beside it" for one in beside(service)]
    wrong += [*told_besides(timer), *told_besides(service)]
    due = next_of(timer) - observation.at.timestamp()
    if due > _DAY:
        wrong.append(f"the next look is due in {due / _DAY:.1f} days only")
    judge(wrong)
    note(f"next look in {due / 3600:.1f} h")


@pytest.mark.control("updates-03")
@pytest.mark.probe(updates.all_timers)
def test_windows_do_not_meet(
    observation: Observation, machine: Machine, settings: Settings, note: Callable[[str], None]
) -> None:
    """By systemd's own account of what comes next, this machine's window is the declared time away from all others."""
    apart = settings.updates.reboot.minutes_apart
    due: dict[str, float] = {}
    wrong = []
    for name, output in observation.data.items():
        timer = units(output)[REBOOT_TIMER]
        if stopped := boots(timer):
            wrong += [f"on {name} {text}" for text in stopped]
            continue
        if timer["Persistent"] != "no" or timer["RandomizedDelayUSec"] != "0":
            wrong.append(f"the window on {name} moves or is caught up with at boot")
        if timer["TimersCalendar"].count("OnCalendar=") != 1 or timer.get("TimersMonotonic"):
            wrong.append(f"{name} has more than one window")
        due[name] = next_of(timer)
    for one, other in combinations(due, 2):
        between = abs(due[one] - due[other]) % _DAY
        minutes = min(between, _DAY - between) / 60
        if machine.name in (one, other) and minutes < apart - 1:
            wrong.append(f"{one} and {other} may reboot {minutes:.0f} minutes from each other")
    judge(wrong)
    note(f"{len(due)} windows, {apart} minutes apart")


@pytest.mark.control("updates-03")
@pytest.mark.probe(updates.timers)
def test_the_window_runs_what_asks_the_peers(observation: Observation, note: Callable[[str], None]) -> None:
    """What the window starts is the program that asks all peers, and nothing beside it."""
    name = REBOOT_TIMER.replace(".timer", ".service")
    shown = units(observation.data)
    service = shown[name]
    assert service["LoadState"] == "loaded", f"{name} is {service['LoadState']}"
    wanted, wrong = f"/usr/bin/python3 -I {PROGRAM} reboot", list[str]()
    if run_by(service) != wanted:
        wrong.append(f"the window runs something else: {run_by(service)}")
    wrong += [f"{name} has {one} beside it" for one in beside(service)]
    wrong += [*told_besides(shown[REBOOT_TIMER]), *told_besides(service)]
    judge(wrong)
    note(f"it runs `{run_by(service)}`")


@pytest.mark.control("updates-03")
@pytest.mark.probe(updates.program)
def test_the_program_knows_every_peer(
    observation: Observation, machine: Machine, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """The program is this project's, byte for byte (the rehearsal proves it), and knows all other machines."""
    digest, _, config = observation.data.text.partition("\n")
    peers = parsed(Output(observation.data.code, config), "its configuration cannot be read")["peers"]
    # what makes a claim to be the only one that goes down cannot be seen on a machine that stays up
    wrong = [] if digest.partition(" ")[0] in DIGESTS[PROGRAM] else ["the program is another one"]
    wanted = {other.name: other.address_for(machine) for other in inventory if other.name != machine.name}
    if differ := sorted(name for name in {*peers, *wanted} if peers.get(name) != wanted.get(name)):
        wrong.append(f"it does not ask every other machine, or others: {', '.join(differ)}")
    judge(wrong)
    note(f"asks {', '.join(sorted(peers))}")


@pytest.mark.control("updates-03")
@pytest.mark.probe(updates.apt_config)
def test_nothing_else_reboots_after_upgrades(observation: Observation, note: Callable[[str], None]) -> None:
    """Debian's unattended-upgrades, which knows no peers, does not reboot."""
    single, _ = apt_values(observation.data)
    reboots = single.get("Unattended-Upgrade::Automatic-Reboot", "false").lower()
    note(f"Automatic-Reboot is {reboots}")
    assert reboots in ("false", "0", "no", "off"), "unattended-upgrades reboots by itself and asks nobody"


@pytest.mark.control("updates-05")
@pytest.mark.probe(updates.rolled)
def test_packages_restart_nothing_that_the_databases_stand_on(
    observation: Observation, note: Callable[[str], None]
) -> None:
    """What Debian's maintainer scripts ask before they start, restart, reload or stop one of these says no."""
    seen = parsed(observation.data, "what may be restarted cannot be read")
    note(f"asked for {', '.join(sorted(seen['allowed'])) or 'nothing'}")
    open_ = {f"{name} ({', '.join(verbs)})" for name, verbs in seen["allowed"].items() if verbs}
    assert not open_, f"the package manager may restart {', '.join(sorted(open_))}"


@pytest.mark.control("updates-05")
@pytest.mark.probe(updates.rolled)
def test_what_runs_is_what_is_installed(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """None of these runs a program that was replaced for longer than an update may wait."""
    seen = parsed(observation.data, "what runs cannot be read")
    days = {name: (seen["now"] - at) / _DAY for name, at in seen["outdated"].items()}
    note("waits for its turn: " + ", ".join(sorted(days)) if days else "all run what is installed")
    late = [f"{name} ({age:.0f} days)" for name, age in days.items() if age > settings.updates.max_pending_days]
    assert not late, f"an earlier program than the installed one still runs: {', '.join(sorted(late))}"


@pytest.mark.control("updates-05")
@pytest.mark.probe(updates.helpers)
def test_the_helper_programs_are_ours(
    observation: Observation, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    """What a machine's turn runs, and all beside it, are this project's programs, byte for byte, and root's alone."""
    seen = parsed(observation.data, "the programs of ours cannot be read")
    member, site = machine.name in settings.etcd_members, machine.name in settings.sites
    wanted = {POLICY, *((CTL, ETCD_TURN) if member else ()), *((POSTGRES_TURN, PATRONI) if site else ())}
    wrong = [f"{path} is not there" for path in sorted(wanted - set(seen))]
    for path, found in sorted(seen.items()):
        if path not in DIGESTS:
            wrong.append(f"{path} is none of ours")
        elif found["digest"] not in DIGESTS[path]:
            wrong.append(f"{path} is another program")
        if found["others"]:
            wrong.append(f"somebody but root may write {path}")
    judge(wrong)
    note(f"{len(seen)} programs")


@pytest.mark.control("updates-01")
@pytest.mark.probe(updates.unchanged)
def test_what_installs_updates_is_debians(observation: Observation, note: Callable[[str], None]) -> None:
    """The files of apt, unattended-upgrades, sshd, fail2ban and nftables are as their packages brought them."""
    changed = observation.data.text.splitlines()
    note("no file differs" if not changed else "")
    judge(f"not as its package brought it: {line.split()[-1]} ({line.split()[0]})" for line in changed)


def _signed(date: str) -> datetime:
    return datetime.strptime(f"{date[:-3].strip()} +0000", "%a, %d %b %Y %H:%M:%S %z")


def _patterns(wanted: Updates) -> set[str]:
    """All that may be upgraded by itself (unattended-upgrades' README); what is declared as a suite is either name."""
    declared = {f"site={site},{key}={suite}" for site, suite in upgraded(wanted) for key in ("archive", "codename")}
    return {*_SECURITY, *(_STABLE if wanted.stable else ()), *declared}
