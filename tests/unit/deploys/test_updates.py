"""Windows that do not meet, archives with whole keys, and the program that asks before it reboots."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from bastide.settings import Settings, Source
from bastide.windows import windows
from deploys.facts.fact import Facts
from deploys.operations.units import unit_commands
from deploys.updates import deploy as updates
from deploys.updates import program
from tests.unit.deploys.box import ARCHIVE_KEY, SETTINGS, SOURCE, here


def changed(**reboot: object) -> Settings:
    wanted = SETTINGS.updates.model_copy(update={"reboot": SETTINGS.updates.reboot.model_copy(update=reboot)})
    return SETTINGS.model_copy(update={"updates": wanted})


def test_the_witness_goes_first_and_the_primary_last():
    found = windows(SETTINGS)
    assert {name: one.reboot for name, one in found.items()} == {
        "witness": "*-*-* 03:00:00",
        "standby": "*-*-* 03:30:00",
        "primary": "*-*-* 04:00:00",
    }
    assert list(found) == ["witness", "standby", "primary"]
    assert found["standby"].upgrade == "*-*-* 01:30:00"


def test_a_window_past_midnight_is_on_the_next_day():
    found = windows(changed(day="Sun", begin="23:30", minutes_apart=45))
    assert [one.reboot for one in found.values()] == ["Sun *-*-* 23:30:00", "Mon *-*-* 00:15:00", "Mon *-*-* 01:00:00"]


def test_the_windows_of_all_servers_fit_into_a_day():
    data = SETTINGS.model_dump()
    many = {
        f"standby{n}": {"role": "standby", "location": "hel1", "private_address": f"10.20.0.{20 + n}"} for n in range(5)
    }
    data["servers"] |= many
    data["updates"]["reboot"]["minutes_apart"] = 240
    with pytest.raises(ValidationError, match="the windows of all servers take 1920 minutes"):
        Settings.model_validate(data)


@pytest.mark.parametrize("value", ["24:00", "3:00", "03:60", "noon"])
def test_a_time_of_day_is_one(value):
    with pytest.raises(ValidationError, match="time of day like 03:00"):
        type(SETTINGS.updates)(begin=value)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (ARCHIVE_KEY.replace("PUBLIC", "PRIVATE"), "is a private key"),
        (ARCHIVE_KEY.replace("-----END PGP PUBLIC KEY BLOCK-----", ""), "must be the whole text"),
        (ARCHIVE_KEY.replace("mDME", "mDM"), "does not decode"),
        (ARCHIVE_KEY.replace("mDME", "iHUE"), "is not a whole OpenPGP public key"),
        ("https://archive.example.eu/key.asc", "must be the whole text"),
    ],
)
def test_an_archives_key_is_a_whole_public_one(key, says):
    with pytest.raises(ValidationError, match=says):
        Source(url="https://archive.example.eu/debian", suite="stable", key=key)


def test_only_sources_that_say_so_are_upgraded_from():
    names = {"a": SOURCE, "b": SOURCE.model_copy(update={"upgrade": False, "suite": "other"})}
    wanted = SETTINGS.updates.model_copy(update={"sources": names, "stable": False})
    assert updates.patterns(wanted)[2:] == [
        "site=archive.example.eu,archive=stable",
        "site=archive.example.eu,codename=stable",
    ]
    assert not any("label=Debian" in pattern and "Security" not in pattern for pattern in updates.patterns(wanted))


def test_a_source_that_is_not_named_any_more_goes_and_others_stay():
    wanted = SETTINGS.updates.model_copy(update={"sources": {"other": SOURCE}})
    seen = Facts({"folders": {updates.SOURCES: ["debian.sources", "bastide-other.sources", "bastide-gone.sources"]}})
    gone = updates.orphans(wanted, seen)
    assert [(file.path, file.content) for file in gone] == [(f"{updates.SOURCES}/bastide-gone.sources", None)]


def test_a_machine_asks_all_others():
    assert updates.wanted_of(here()).peers == {"standby": "10.20.0.12", "witness": "10.20.0.13"}


def test_a_masked_unit_comes_back():
    seen = {"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "inactive"}
    assert unit_commands("a.timer", "running", seen) == [
        "systemctl unmask a.timer",
        "systemctl enable a.timer",
        "systemctl start a.timer",
    ]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's files, and programs that all succeed; what was run stands in `ran`."""
    monkeypatch.setattr(program, "ROOT", tmp_path)
    for folder in ("run", "etc/bastide/reboot.d", "var/lib/dpkg", "var/lib/bastide", "boot", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    config = {"peers": {"standby": "10.20.0.12", "primary": "10.20.0.11"}, "observe_seconds": 0, "max_pending_days": 3}
    (tmp_path / "etc/bastide/updates.json").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    def fake(*argv: str, stdin: str = "", seconds: float = 30) -> subprocess.CompletedProcess[str]:
        lines.append(" ".join(argv))
        silent = argv[-1] in lines[:1] or f"silent {argv[-1]}" in lines
        return subprocess.CompletedProcess(argv, 1 if argv[0] == "ping" and silent else 0, "", "")

    monkeypatch.setattr(program, "_run", fake)
    return lines


def test_it_claims_before_it_looks_and_reboots_when_all_answer(box, ran, capsys):
    (box / "run/reboot-required").touch()
    assert program.main(["reboot"]) == 0
    words = [line.split()[0] for line in ran if not line.startswith("systemd-detect-virt")]
    assert words == ["nft", "ping", "ping", "systemctl"]
    assert "rebooting, since a package asked for it" in capsys.readouterr().out


def test_a_silent_peer_keeps_it_up_and_the_claim_is_withdrawn(box, ran, capsys):
    (box / "run/reboot-required").touch()
    ran.append("silent 10.20.0.11")
    assert program.main(["reboot"]) == 0
    assert "systemctl reboot" not in ran
    assert ran[-1] == "nft destroy table inet bastide_reboot"
    assert "<4>no reboot now: primary (10.20.0.11) does not answer" in capsys.readouterr().out


def test_without_known_peers_it_stays(box, ran, capsys):
    (box / "run/reboot-required").touch()
    (box / "etc/bastide/updates.json").write_text('{"peers": {}, "observe_seconds": 0}')
    program.main(["reboot"])
    assert "systemctl reboot" not in ran
    assert "no peer is known" in capsys.readouterr().out


def test_packages_in_the_making_keep_it_up(box, ran, capsys):
    (box / "run/reboot-required").touch()
    lock = box / "var/lib/dpkg/lock-frontend"
    script = "import fcntl, sys; f = open(sys.argv[1], 'a+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(); sys.stdin.read()"
    with subprocess.Popen(["python3", "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        program.main(["reboot"])
        holder.communicate()
    assert "packages are being installed" in capsys.readouterr().out
    assert not any(line.startswith("nft") for line in ran)


@pytest.mark.parametrize(("started", "stays"), [(77, True), (78, False)])
def test_a_deploy_that_is_under_way_keeps_it_up(box, ran, capsys, started, stays):
    (box / "run/reboot-required").touch()
    (box / "run/bastide-deploy.json").write_text(json.dumps({"who": "anna", "since": 1, "session": [5, started]}))
    (box / "proc/5").mkdir()
    (box / "proc/5/stat").write_text(f"5 (sshd: a b) {' '.join(['0'] * 19)} 77 0\n")
    program.main(["reboot"])
    assert ("anna deploys" in capsys.readouterr().out) is stays
    assert ("systemctl reboot" not in ran) is stays


def test_nothing_pending_asks_nobody(box, ran):
    program.main(["reboot"])
    assert not any(line.startswith(("nft", "ping", "systemctl")) for line in ran)


def test_replaced_code_is_seen_and_replaced_data_is_not(box, ran):
    line = "7f00-7f01 {} 00000000 00:00 12 {}"
    for pid, permissions, path in (
        ("1", "r-xp", "/usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)"),
        ("2", "r--p", "/usr/lib/locale/locale-archive (deleted)"),
        ("3", "r-xp", "/memfd:jit (deleted)"),
        ("4", "r-xp", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
    ):
        (box / "proc" / pid).mkdir()
        (box / "proc" / pid / "maps").write_text(line.format(permissions, path) + "\n")
        (box / "proc" / pid / "comm").write_text(f"program{pid}\n")
    assert program.reboot_reasons() == {"stale": "replaced code still runs in program1"}


def test_a_long_wait_is_an_alert_and_the_first_time_counts(box, ran, monkeypatch, capsys):
    monkeypatch.setattr(program, "pending_packages", lambda: {"openssl": {"installed": "1", "available": "2"}})
    program.main(["check"])
    assert "<1>" not in capsys.readouterr().out
    state = box / "var/lib/bastide/updates.json"
    known = json.loads(state.read_text())
    known["packages"]["openssl"] -= 4 * 86400
    state.write_text(json.dumps(known))
    monkeypatch.setattr(program, "pending_packages", lambda: {"openssl": {"installed": "1", "available": "3"}})
    program.main(["check"])
    assert "<1>a security update of openssl has waited for 4.0 days, at most 3 are allowed" in capsys.readouterr().out
    monkeypatch.setattr(program, "pending_packages", dict)
    program.main(["check"])
    assert json.loads(state.read_text())["packages"] == {}


def test_a_reboot_waits_from_its_first_day_on_whatever_it_is_for(box, ran, monkeypatch, capsys):
    monkeypatch.setattr(program, "pending_packages", dict)
    monkeypatch.setattr(program, "_stale_programs", lambda: {"bash", "nginx"})
    program.main(["check"])
    state = box / "var/lib/bastide/updates.json"
    known = json.loads(state.read_text())
    known["reboot"]["stale"] -= 4 * 86400
    state.write_text(json.dumps(known))
    monkeypatch.setattr(program, "_stale_programs", lambda: {"bash", "cron"})
    program.main(["check"])
    wanted = "<1>a reboot is pending: replaced code still runs in bash, cron has waited for 4.0 days, at most 3"
    assert wanted in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_without_a_memory_it_says_that_it_never_looked(box, ran, monkeypatch, capsys, text):
    monkeypatch.setattr(program, "pending_packages", dict)
    state = box / "var/lib/bastide/updates.json"
    if text is not None:
        state.write_text(text)
    program.main(["look"])
    assert json.loads(capsys.readouterr().out)["looked"] is None
    program.main(["check"])
    capsys.readouterr()
    program.main(["look"])
    seen = json.loads(capsys.readouterr().out)
    assert 0 <= seen["now"] - seen["looked"] < 60


def test_a_kernel_that_a_reboot_did_not_bring_is_an_alert_and_no_second_reboot(box, ran, monkeypatch, capsys):
    monkeypatch.setattr(program, "pending_packages", dict)
    monkeypatch.setattr(program, "_newer_kernel", lambda: "6.12.57")
    program.main(["reboot"])
    assert ran.count("systemctl reboot") == 1
    program.main(["check"])  # what it was rebooted for is remembered past the looks in between
    program.main(["reboot"])
    assert ran.count("systemctl reboot") == 1
    assert "<1>no reboot now: the kernel 6.12.57 is installed and does not run, and the last" in capsys.readouterr().out
    monkeypatch.setattr(program, "_newer_kernel", lambda: "6.12.63")
    program.main(["reboot"])
    assert ran.count("systemctl reboot") == 2
    (box / "run/reboot-required").touch()
    program.main(["reboot"])
    assert ran.count("systemctl reboot") == 3


def test_a_reboot_that_systemd_refused_is_tried_again(box, ran, monkeypatch):
    monkeypatch.setattr(program, "_newer_kernel", lambda: "6.12.57")
    fake = program._run

    def refused(*argv: str, stdin: str = "", seconds: float = 30) -> subprocess.CompletedProcess[str]:
        done = fake(*argv, stdin=stdin, seconds=seconds)
        return subprocess.CompletedProcess(argv, 1, "", "") if argv[0] == "systemctl" else done

    monkeypatch.setattr(program, "_run", refused)
    assert program.main(["reboot"]) == 1
    assert program.main(["reboot"]) == 1
    assert ran.count("systemctl reboot") == 2


def test_what_is_masked_is_unmasked_before_it_is_started_and_the_first_look_is_at_once():
    timers = " ".join(updates.TIMERS)
    *_, restart, look = updates._SETTLE.splitlines()
    unmask = f"systemctl daemon-reload && systemctl -q unmask {timers} && systemctl restart {timers} || exit 1"
    assert (restart, look) == (unmask, "systemctl start bastide-updates.service")


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("6.12.57+deb13-amd64", "6.12.9+deb13-amd64"),
        ("6.18.1", "6.12.57"),
        ("6.12.115+deb13.1-amd64", "6.12.115+deb13-amd64"),
        ("6.12.115+deb13-amd64", "6.12.115~rc1-amd64"),
    ],
)
def test_kernels_are_compared_as_dpkg_does(newer, older):
    assert program._is_newer(newer, older)
    assert not program._is_newer(older, newer)
    assert not program._is_newer(newer, newer)


@pytest.fixture
def turns(box: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, str]]:
    """What the programs of etcd and Postgres say to each word: exit code and text."""
    says = {"10-etcd look": (0, ""), "20-postgres look": (0, "patroni\npgbouncer\n")}
    folder = box / "etc/bastide/turn.d"
    folder.mkdir()
    for name in ("10-etcd", "20-postgres"):
        (folder / name).touch()
    fake = program._run

    def run(*argv: str, stdin: str = "", seconds: float = 30) -> subprocess.CompletedProcess[str]:
        done = fake(*argv, stdin=stdin, seconds=seconds)
        if argv[0].startswith(str(folder)):
            code, text = says.get(f"{Path(argv[0]).name} {argv[1]}", (0, ""))
            return subprocess.CompletedProcess(argv, code, text, "")
        return done

    monkeypatch.setattr(program, "_run", run)
    return says


def called(ran: list[str]) -> list[str]:
    lines = (line.rpartition("/")[2] for line in ran if "turn.d" in line or "systemctl reboot" in line)
    return [line for line in lines if not line.endswith(" look")]


def test_what_waits_for_its_turn_is_restarted_and_nothing_reboots(box, ran, turns, capsys):
    assert program.main(["reboot"]) == 0
    assert called(ran) == ["10-etcd take", "20-postgres take"]
    assert ran.index("ping -n -q -c 1 -W 1 10.20.0.12") < ran.index(f"{box}/etc/bastide/turn.d/20-postgres take")
    assert ran[-1] == "nft destroy table inet bastide_reboot", "the others may go down again"
    assert "<5>what is installed runs now: patroni, pgbouncer" in capsys.readouterr().out


def test_a_machine_that_reboots_hands_over_first(box, ran, turns):
    (box / "run/reboot-required").touch()
    assert program.main(["reboot"]) == 0
    assert called(ran) == ["10-etcd leave", "20-postgres leave", "systemctl reboot"]


def test_what_cannot_take_its_turn_keeps_the_machine_up(box, ran, turns, capsys):
    turns["10-etcd leave"] = (1, "the member at https://10.20.0.11:2379 is not well\n")
    (box / "run/reboot-required").touch()
    assert program.main(["reboot"]) == 0
    assert called(ran) == ["10-etcd leave"]
    assert "<4>no reboot now: the turn of 10-etcd refuses: the member at" in capsys.readouterr().out


def test_with_a_peer_off_nothing_takes_its_turn(box, ran, turns):
    ran.append("silent 10.20.0.11")
    assert program.main(["reboot"]) == 0
    assert called(ran) == []


def test_a_turn_that_never_comes_is_an_alert(box, ran, turns, monkeypatch, capsys):
    monkeypatch.setattr(program, "pending_packages", dict)
    program.main(["check"])
    state = box / "var/lib/bastide/updates.json"
    known = json.loads(state.read_text())
    known["turn"]["patroni"] -= 4 * 86400
    state.write_text(json.dumps(known))
    program.main(["check"])
    wanted = "<1>patroni: a newer program is installed and has waited for 4.0 days, at most 3 are allowed"
    assert wanted in capsys.readouterr().out


def test_what_is_restarted_by_turns_is_no_reason_to_reboot(box, ran):
    config = json.loads((box / "etc/bastide/updates.json").read_text())
    (box / "etc/bastide/updates.json").write_text(json.dumps({**config, "by_turns": ["etcd", "pgbouncer"]}))
    for pid, name in (("1", "etcd"), ("2", "nginx")):
        (box / "proc" / pid).mkdir()
        (box / "proc" / pid / "maps").write_text(f"7f00-7f01 r-xp 00000000 00:00 12 /usr/bin/{name} (deleted)\n")
        (box / "proc" / pid / "comm").write_text(f"{name}\n")
        (box / "proc" / pid / "cgroup").write_text(f"1:name=systemd:/init.scope\n0::/system.slice/{name}.service\n")
    assert program.reboot_reasons() == {"stale": "replaced code still runs in nginx"}


def test_an_unknown_word_does_nothing(box, ran, capsys):
    assert program.main(["rebot"]) == 2
    assert ran == []
