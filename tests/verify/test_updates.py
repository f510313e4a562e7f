"""Whether updates come, take effect one machine at a time, and come from archives that are checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import combinations

import pytest

from bastide.layout.updates import PROGRAM
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from deploys.updates.deploy import patterns, program_text
from tests.verify.probes.batch import ask, asked
from tests.verify.probes.engine import FIRST, look
from tests.verify.probes.systemd import apt_values, command, flat, next_of, parsed, units
from tests.verify.probes.world import Output, Sight, World

_DAY = 86400
# upgrades run once a day; a machine that was off at its hour catches up when it is on again
_RUN_AGE = timedelta(days=2)
# Debian's security archive signs its release file anew at least once a week (its Valid-Until is 7 days)
_LIST_AGE = timedelta(days=8)
# a machine looks at what waits every six hours; since when is known only if it does
_LOOK_AGE = timedelta(hours=12)
_WANTED = {
    "APT::Periodic::Enable": "1",
    "APT::Periodic::Update-Package-Lists": "always",
    "APT::Periodic::Unattended-Upgrade": "always",
}
_KEYRINGS = {"/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"}
_REBOOT = "bastide-reboot.timer"


@look(order=FIRST, asks="timers")
def all_timers(world: World, machine: Machine) -> tuple[str, dict[str, Output]]:
    """The timers of every machine: windows are windows only beside each other."""
    command = f"# systemctl show {_REBOOT} (every machine)"
    return command, {other.name: ask(world, other, "timers") for other in world.inventory}


@pytest.mark.control("updates-01")
@pytest.mark.look(asked("timers"))
def test_upgrades_are_due_within_a_day(sight: Sight, note: Callable[[str], None]) -> None:
    """The timers that fetch and install upgrades are active now and after a reboot, and nothing keeps them from it."""
    shown = units(sight.data)
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        state = f"{shown[timer]['LoadState']}, {shown[timer]['UnitFileState']}, {shown[timer]['ActiveState']}"
        assert state == "loaded, enabled, active", f"{timer} is {state}"
        service = shown[timer.replace(".timer", ".service")]
        assert service["LoadState"] == "loaded", f"{service['Id']} is {service['LoadState']}"
        verb = "install" if "upgrade" in timer else "update"
        assert command(service) == f"/usr/lib/apt/apt.systemd.daily {verb}", f"{service['Id']} does something else"
    due = next_of(shown["apt-daily-upgrade.timer"]) - sight.at.timestamp()
    note(f"next upgrade in {due / 3600:.1f} h")
    assert due <= _DAY + 3600, f"the next upgrade is due in {due / _DAY:.1f} days only"


@pytest.mark.control("updates-01")
@pytest.mark.look(asked("aptconfig"))
def test_security_updates_are_among_what_is_installed(
    sight: Sight, settings: Settings, note: Callable[[str], None]
) -> None:
    """What apt really reads lets unattended upgrades take Debian's security updates, and leaves no package out."""
    single, lists = apt_values(sight.data)
    for key, wanted in _WANTED.items():
        assert single.get(key) == wanted, f"{key} is {single.get(key, 'unset')}"
    taken = {name: lists.get(f"Unattended-Upgrade::{name}", []) for name in ("Origins-Pattern", "Allowed-Origins")}
    security = patterns(settings.updates)[0]
    assert security in taken["Origins-Pattern"], "it does not take security updates"
    undeclared = {*taken["Origins-Pattern"], *taken["Allowed-Origins"]} - set(patterns(settings.updates))
    assert not undeclared, f"it takes more than is declared: {', '.join(sorted(undeclared))}"
    left_out = lists.get("Unattended-Upgrade::Package-Blacklist", [])
    assert not left_out, f"left out: {', '.join(left_out)}"
    only = lists.get("Unattended-Upgrade::Package-Whitelist", [])
    assert not only, f"nothing is upgraded but {', '.join(only)}"
    note(f"{len(taken['Origins-Pattern'])} patterns of origins, no package left out")


@pytest.mark.control("updates-01")
@pytest.mark.look(asked("aptruns"))
def test_upgrades_really_ran(sight: Sight, note: Callable[[str], None]) -> None:
    """The last whole run is at most two days ago, or the machine is not older than that; the lists are not stale."""
    now, *lines = sight.data.text.splitlines()
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
    ran = min(installed, last) if last is not None else installed
    assert ran <= _RUN_AGE.total_seconds(), f"no upgrade has run for {ran / _DAY:.0f} days"
    dates = [line.partition("Date: ")[2] for line in lines if line.startswith("Date: ")]
    assert dates, "no package list of Debian's security archive was ever fetched"
    signed = max(datetime.strptime(f"{date[:-3].strip()} +0000", "%a, %d %b %Y %H:%M:%S %z") for date in dates)
    age = timedelta(seconds=int(now) - signed.timestamp())
    note(f"security list signed {age.total_seconds() / 3600:.0f} h ago")
    assert age <= _LIST_AGE, f"the list of security updates was signed {age.days} days ago"


@pytest.mark.control("updates-02")
@pytest.mark.look(asked("pending"))
def test_nothing_waits_for_too_long(sight: Sight, settings: Settings, note: Callable[[str], None]) -> None:
    """No package, held or pinned or not, waits for an update longer than allowed, by a memory at most 12 hours old."""
    seen = parsed(sight.data, "what is pending cannot be read")
    # without a memory everything is new
    assert seen["looked"] is not None, "it remembers no look at what waits"
    ago = seen["now"] - seen["looked"]
    assert ago <= _LOOK_AGE.total_seconds(), f"the last look at what waits was {ago / 3600:.0f} hours ago"
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
    assert not late, f"waiting for too long: {', '.join(late)}"


@pytest.mark.control("updates-02")
@pytest.mark.look(asked("timers"))
def test_somebody_looks_at_what_waits(sight: Sight, note: Callable[[str], None]) -> None:
    """The timer that remembers what is pending and raises the alert is active now and after a reboot."""
    shown = units(sight.data)
    timer, service = shown["bastide-updates.timer"], shown["bastide-updates.service"]
    state = f"{timer['LoadState']}, {timer['UnitFileState']}, {timer['ActiveState']}"
    assert state == "loaded, enabled, active", f"bastide-updates.timer is {state}"
    assert command(service) == f"/usr/bin/python3 -I {PROGRAM} check", "bastide-updates.service does something else"
    due = next_of(timer) - sight.at.timestamp()
    note(f"next look in {due / 3600:.1f} h")
    assert due <= _DAY, f"the next look is due in {due / _DAY:.1f} days only"


@pytest.mark.control("updates-03")
@pytest.mark.look(all_timers)
def test_windows_do_not_meet(sight: Sight, machine: Machine, settings: Settings, note: Callable[[str], None]) -> None:
    """By systemd's own account of what comes next, this machine's window is the declared time away from all others."""
    apart = settings.updates.reboot.minutes_apart
    due: dict[str, float] = {}
    for name, output in sight.data.items():
        timer = units(output)[_REBOOT]
        state = f"{timer['LoadState']}, {timer['UnitFileState']}, {timer['ActiveState']}"
        assert state == "loaded, enabled, active", f"{_REBOOT} on {name} is {state}"
        exact = timer["Persistent"] == "no" and timer["RandomizedDelayUSec"] == "0"
        assert exact, f"the window on {name} moves or is caught up with at boot"
        single = timer["TimersCalendar"].count("OnCalendar=") == 1 and not timer.get("TimersMonotonic")
        assert single, f"{name} has more than one window"
        due[name] = next_of(timer)
    note(f"{len(due)} windows, {apart} minutes apart")
    for one, other in combinations(due, 2):
        between = abs(due[one] - due[other]) % _DAY
        minutes = min(between, _DAY - between) / 60
        if machine.name in (one, other):
            assert minutes >= apart - 1, f"{one} and {other} may reboot {minutes:.0f} minutes from each other"


@pytest.mark.control("updates-03")
@pytest.mark.look(asked("timers"))
def test_the_window_runs_what_asks_the_peers(sight: Sight, note: Callable[[str], None]) -> None:
    """What the window starts is the program that asks all peers, and nothing beside it."""
    service = units(sight.data)["bastide-reboot.service"]
    assert service["LoadState"] == "loaded", f"bastide-reboot.service is {service['LoadState']}"
    wanted = f"/usr/bin/python3 -I {PROGRAM} reboot"
    note(f"it runs `{command(service)}`")
    assert command(service) == wanted, f"the window runs something else: {command(service)}"


@pytest.mark.control("updates-03")
@pytest.mark.look(asked("program"))
def test_the_program_knows_every_peer(
    sight: Sight, machine: Machine, inventory: Inventory, note: Callable[[str], None]
) -> None:
    """The program is this project's, byte for byte (the rehearsal proves it), and knows all other machines."""
    digest, _, config = sight.data.text.partition("\n")
    assert digest.split()[:1] == [hashlib.sha256(program_text().encode()).hexdigest()], "the program is another one"
    peers = parsed(Output(sight.data.code, config), "its configuration cannot be read")["peers"]
    wanted = {other.name: other.address_for(machine) for other in inventory if other.name != machine.name}
    note(f"asks {', '.join(sorted(peers))}")
    assert peers == wanted, "it does not ask every other machine"


@pytest.mark.control("updates-03")
@pytest.mark.look(asked("aptconfig"))
def test_nothing_else_reboots_after_upgrades(sight: Sight, note: Callable[[str], None]) -> None:
    """Debian's unattended-upgrades, which knows no peers, does not reboot."""
    single, _ = apt_values(sight.data)
    reboots = single.get("Unattended-Upgrade::Automatic-Reboot", "false").lower()
    note(f"Automatic-Reboot is {reboots}")
    assert reboots in ("false", "0", "no", "off"), "unattended-upgrades reboots by itself and asks nobody"


@pytest.mark.control("updates-04")
@pytest.mark.look(asked("aptsources"))
def test_every_source_is_declared_and_checked(sight: Sight, settings: Settings, note: Callable[[str], None]) -> None:
    """Each source that apt would use is Debian's with Debian's keys or a declared one with its declared key."""
    assert sight.data.code == 0, "apt cannot read its sources"
    declared = {(source.url.rstrip("/"), source.suite): source for source in settings.updates.sources.values()}
    configured, _, fetched = sight.data.text.partition("\n# ")
    rows = [row.split(maxsplit=2) for row in re.split(r"^# ", fetched, flags=re.MULTILINE)]
    keys = {(row[0].rstrip("/"), row[1]): flat("".join(row[2:])) for row in rows if len(row) > 1}
    used = {(words[1].rstrip("/"), words[2]) for words in map(str.split, configured.splitlines())}
    assert used, "apt has no source at all"
    note(f"{len(used)} source(s), {len(used & set(keys))} of them fetched")
    for site, release in sorted(used):
        where, key = f"{site} {release}", keys.get((site, release), "")
        if (source := declared.get((site, release))) is not None:
            assert key in ("", flat(source.key)), f"{where} is checked against another key than the declared one"
        else:
            assert re.fullmatch(r"trixie(-updates|-security|-backports)?", release), f"{where} is not declared"
            # without a key of its own, Debian's count: see test_no_key_counts_for_every_archive
            debians = key in (*map(flat, _KEYRINGS), flat("$(SIGNED_BY)"))
            assert debians, f"{where} is not declared, and was not found signed with Debian's keys"


@pytest.mark.control("updates-04")
@pytest.mark.look(asked("aptoptions"))
def test_no_source_is_spared(sight: Sight, note: Callable[[str], None]) -> None:
    """No source says of itself that it needs no check."""
    note(f"{len(sight.data.text.splitlines())} sources with such an option")
    assert sight.data.text == "", f"a source is spared from checks: {sight.data.text.splitlines()[0].strip()}"


@pytest.mark.control("updates-04")
@pytest.mark.look(asked("aptconfig"))
def test_no_check_is_switched_off(sight: Sight, note: Callable[[str], None]) -> None:
    """No option of apt lets packages in whose archive is not signed, or was signed with something weak or old."""
    single, _ = apt_values(sight.data)
    dangerous = re.compile(
        r"(Acquire::(Allow\w*(Insecure|Weak)\w*|Check-Valid-Until|Check-Date)|APT::Get::AllowUnauthenticated"
        r"|Acquire::https::\S*Verify-(Peer|Host)|APT::Hashes::\S+::(Weak|Untrusted)|Acquire::AllowReleaseInfoChange)"
    )
    note(f"{sum(bool(dangerous.fullmatch(key)) for key in single)} options that bear on it, of {len(single)}")
    off_is_bad = ("Check-Valid-Until", "Check-Date", "Verify-Peer", "Verify-Host", "Untrusted", "Weak")
    for key, value in single.items():
        if dangerous.fullmatch(key):
            on = value.lower() in ("1", "true", "yes", "on", "with", "enable")
            good = on if key.endswith(off_is_bad) else not on
            assert good, f"{key} is {value}"


@pytest.mark.control("updates-04")
@pytest.mark.look(asked("aptkeys"))
def test_no_key_counts_for_every_archive(sight: Sight, note: Callable[[str], None]) -> None:
    """The keys that count for every archive are those of Debian's own package, unchanged."""
    note(f"{len(sight.data.text.split())} others")
    assert sight.data.text == "", f"keys that count for every archive: {', '.join(sight.data.text.split())}"
