"""Who hears of what goes wrong, by what arrives at the lab's sink: from whom, how often, and what when nobody can.

The sink sees the address that a message comes from: that is who told, whatever the message says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from bastide.layout.alerts import CONFIG
from bastide.layout.alerts import UNIT as WATCH
from bastide.secrets import AlertSecrets
from bastide.stackfile import dump, load, read
from deploys.alerts.deploy import Wanted, program_files
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "flow"

# each test has its own: what comes and goes is told three times a day and then no more
UNIT = "rehearsed-failure"
# a unit must be failed for a round before it counts; the others read it a round later, and tell in the next one
TOLD_SECONDS = 90
CLUSTER = "database cluster"
NAMES = ("primary", "standby", "witness")
AWAY = "does not answer: it is off, cut off, or its alerts do not run"


class Sink:
    """What came at the lab's sink since it was made."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self._names = {machine.address: machine.name for machine in rehearsal.inventory()}
        self.forget()

    def forget(self) -> None:
        """Nothing came, and all ways are well."""
        self._rehearsal.api("DELETE", "/_lab/messages")

    def breaks(self, **faults: str) -> None:
        """From now on these ways misbehave, and no others."""
        self._rehearsal.api("POST", "/_lab/messages/faults", faults)

    def came(self, way: str = "mail", *, about: str = "") -> list[tuple[str, str]]:
        """Who sent, and the subject (mail), for all messages of a way that hold these words."""
        found = self._rehearsal.api("GET", "/_lab/messages")["messages"]
        return [
            (self._names.get(one["client"], one["client"]), self._words(one))
            for one in found
            if one["way"] == way and about in self._words(one)
        ]

    def ports(self) -> list[int]:
        """The ports that mails came at."""
        found = self._rehearsal.api("GET", "/_lab/messages")["messages"]
        return [one["port"] for one in found if one["way"] == "mail"]

    def wait(self, subject: str, *, way: str = "mail", seconds: float = TOLD_SECONDS) -> str:
        """Wait for exactly one message of these words. Returns who sent it."""
        wait_for(lambda: bool(self.came(way, about=subject)), f"a message by {way}: {subject}", seconds=seconds)
        ((who, _),) = self.came(way, about=subject)
        return who

    @staticmethod
    def _words(one: dict[str, Any]) -> str:
        body = one.get("body")
        return str(one.get("subject") or (body.get("text", "") if isinstance(body, dict) else ""))


@pytest.fixture
def sink(rehearsal: Rehearsal) -> Iterator[Sink]:
    found = Sink(rehearsal)
    yield found
    # what a test broke is nobody's after it
    found.forget()


def wait_until_known(rehearsal: Rehearsal, machine: str, key: str, state: str) -> None:
    """Until a machine has read what another one told: one that dies within a round of telling has its last word
    repeated by the next."""
    known = f"""grep -q '"{key}": {{"state": "{state}"' /var/lib/bastide-alerts/memory.json"""
    wait_for(lambda: rehearsal.exec(machine, known, check=False).ok, f"{machine} knows of {key}", seconds=60)


def test_what_fails_is_told_once_by_another_machine_and_what_is_over_too(rehearsal: Rehearsal, sink: Sink) -> None:
    stack = rehearsal.stack
    rehearsal.exec("primary", f"systemd-run -q --unit={UNIT} false; systemd-cat -p alert -t canary echo no; true")
    rehearsal.exec("witness", "systemd-run -q --unit=says --wait systemd-cat -p alert echo 'the sky is 7 m high'")
    subject = f"[{stack}] primary: the unit {UNIT}.service has failed"
    assert sink.wait(subject) == "witness"
    assert sink.wait(subject, way="hook") == "witness"
    # of the witness the next one tells
    assert sink.wait("the sky is 7 m high", seconds=60) == "standby"
    rehearsal.exec("primary", f"systemctl reset-failed {UNIT}")
    assert sink.wait(f"[{stack}] primary: resolved: the unit {UNIT}.service has failed") == "witness"
    assert len(sink.came(about="rehearsed")) == 2, "each is told once"
    assert sink.came(about="canary") == [], "what people do in their sessions is no alert"


def test_a_test_message_goes_by_every_way_from_each_machine(rehearsal: Rehearsal, sink: Sink) -> None:
    done = rehearsal.make("alert-test")
    for way in ("mail", "webhook", "heartbeat"):
        assert done.stdout.count(f"{way}: taken") == 3, done.stdout
    test = f"[{rehearsal.stack}] "
    assert {who for who, subject in sink.came(about="test: alerts reach you") if subject.startswith(test)} == {
        "primary",
        "standby",
        "witness",
    }
    sink.breaks(mail="refuse")
    done = rehearsal.make("alert-test", "machine=standby", check=False)
    assert not done.ok
    assert "mail: NOT taken (" in done.stdout + done.stderr
    assert "webhook: taken" in done.stdout
    assert "not taken by mail; next: settings.alerts" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def impatient(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """A machine is missed after a minute, and a sign of life is sent every minute."""
    before = rehearsal.file.read_bytes()
    document = load(rehearsal.file)
    wanted = document["config"]["bastide:settings"]["alerts"]
    wanted["silent_minutes"] = wanted["heartbeat"]["every_minutes"] = 1
    rehearsal.file.write_text(dump(document))
    rehearsal.deploy("--data", "only=alerts")
    yield rehearsal
    rehearsal.file.write_bytes(before)
    rehearsal.deploy("--data", "only=alerts")


@pytest.mark.full("alerts")
def test_a_machine_without_power_is_told_of_by_another_and_the_witness_by_the_next(
    impatient: Rehearsal, sink: Sink
) -> None:
    for gone, teller in (("standby", "witness"), ("witness", "standby")):
        sink.forget()
        impatient.lab("crash", gone)
        try:
            assert sink.wait(f"[{impatient.stack}] {gone}: {AWAY}", seconds=150) == teller
        finally:
            impatient.lab("start", gone)
        assert sink.wait(f"{gone}: resolved: {AWAY}", seconds=120) == teller
        assert len(sink.came(about=AWAY)) == 2
        wait_until_known(impatient, "primary", f"{gone}/silent", "resolved")


@pytest.mark.full("alerts")
def test_when_who_tells_is_gone_the_next_one_does_and_repeats_nothing(impatient: Rehearsal, sink: Sink) -> None:
    impatient.exec("primary", f"systemd-run -q --unit={UNIT}-1 false; true")
    assert sink.wait(f"primary: the unit {UNIT}-1.service has failed") == "witness"
    wait_until_known(impatient, "standby", f"primary/unit/{UNIT}-1.service", "told")
    impatient.lab("crash", "witness")
    try:
        sink.wait(f"witness: {AWAY}", seconds=150)
        impatient.exec("primary", f"systemd-run -q --unit={UNIT}-2 false; true")
        assert sink.wait(f"primary: the unit {UNIT}-2.service has failed") == "standby"
        assert len(sink.came(about=f"the unit {UNIT}-1.service")) == 1
        wait_for(lambda: ("standby", "") in sink.came("beat"), "the next one's sign of life", seconds=120)
    finally:
        impatient.lab("start", "witness")
        impatient.exec("primary", f"systemctl reset-failed {UNIT}-1 {UNIT}-2")
    sink.wait(f"witness: resolved: {AWAY}", seconds=120)
    # whoever told of it, each that is over is told of once, and nothing of it is left for what comes next
    for number in (1, 2):
        sink.wait(f"primary: resolved: the unit {UNIT}-{number}.service has failed", seconds=120)


@pytest.mark.full("alerts-cluster")
def test_a_switchover_is_told_by_nobody(impatient: Rehearsal, sink: Sink) -> None:
    for leader in ("standby", "primary"):
        impatient.make("switchover", f"to={leader}")
    # longer than what makes nobody a leader must last, and what it takes to be told
    ends = time.monotonic() + 120
    wait_for(lambda: bool(sink.came()) or time.monotonic() > ends, "the time to pass", seconds=130)
    assert sink.came() == []


@pytest.mark.full("alerts-cluster")
def test_nobody_leads_and_one_does_not_follow_are_told_by_the_witness(impatient: Rehearsal, sink: Sink) -> None:
    impatient.exec("standby", "systemctl stop patroni")
    try:
        begun = "grep -q follower/standby /var/lib/bastide-alerts/memory.json"
        wait_for(lambda: impatient.exec("witness", begun, check=False).ok, "the witness sees it", seconds=60)
        impatient.exec("primary", "systemctl stop patroni")
        assert sink.wait(f"{CLUSTER}: nobody leads: nothing can be written", seconds=150) == "witness"
        impatient.exec("primary", "systemctl start patroni")
        assert sink.wait(f"{CLUSTER}: resolved: nobody leads", seconds=120) == "witness"
        assert len(sink.came(about=f"{CLUSTER}: nobody leads")) == 1, "both sites see it, and it is told once"
        assert sink.wait("standby: Patroni does not answer", seconds=120) == "witness"
        # that nobody led meanwhile is no reason to begin anew
        assert sink.wait(f"{CLUSTER}: standby does not follow", seconds=300) == "witness"
    finally:
        impatient.exec("primary", "systemctl start patroni")
        impatient.exec("standby", "systemctl start patroni")
    assert sink.wait(f"{CLUSTER}: resolved: standby does not follow", seconds=120) == "witness"


@pytest.mark.full("alerts-ways")
def test_mail_goes_over_tls_from_the_first_byte_where_that_is_declared(impatient: Rehearsal, sink: Sink) -> None:
    before = impatient.file.read_bytes()
    document = load(impatient.file)
    document["config"]["bastide:settings"]["alerts"]["mail"] |= {"port": 465, "tls": "tls"}
    impatient.file.write_text(dump(document))
    try:
        impatient.deploy("--data", "only=alerts")
        assert impatient.make("alert-test").stdout.count("mail: taken") == 3
        assert sink.ports() == [465, 465, 465]
        certificate = "/etc/bastide/alerts/trusted.crt"
        impatient.exec("standby", f"mv {certificate} /run/trusted.crt")
        done = impatient.make("alert-test", "machine=standby", check=False)
        assert "certificate verify failed" in done.stdout + done.stderr, "it trusts whom it was told to"
        assert sink.ports() == [465, 465, 465]
    finally:
        impatient.exec("standby", f"[ ! -e /run/trusted.crt ] || mv /run/trusted.crt {certificate}")
        impatient.file.write_bytes(before)
        impatient.deploy("--data", "only=alerts")


@pytest.mark.full("alerts-ways")
def test_without_a_mesh_each_tells_of_itself_and_others_of_its_silence(impatient: Rehearsal, sink: Sink) -> None:
    made = read(impatient.file).made
    for name in NAMES:
        config = json.loads(impatient.exec(name, f"cat {CONFIG}").stdout)
        config |= {"port": None, "peers": {one: made[one].private_address for one in NAMES if one != name}}
        # as a stack without a mesh has it: what the program knows, and a unit that may ping
        wanted = Wanted(config, AlertSecrets(*(SecretStr("is there"),) * 3))
        for file in program_files(wanted):
            if file.path in (CONFIG, f"/etc/systemd/system/{WATCH}"):
                impatient.exec(name, f"cat > {file.path}", input=str(file.content))
        impatient.exec(name, f"systemctl daemon-reload; systemctl restart {WATCH}")
    try:
        impatient.exec("primary", f"systemd-run -q --unit={UNIT}-4 false; true")
        assert sink.wait(f"primary: the unit {UNIT}-4.service has failed") == "primary"
        impatient.lab("crash", "standby")
        assert sink.wait(f"standby: {AWAY}", seconds=150) == "witness"
        impatient.lab("start", "standby")
        assert sink.wait(f"standby: resolved: {AWAY}", seconds=120) == "witness"
    finally:
        impatient.lab("start", "standby", check=False)
        impatient.exec("primary", f"systemctl reset-failed {UNIT}-4")
        impatient.deploy("--data", "only=alerts")


@pytest.mark.full("alerts")
def test_nobody_alive_is_no_sign_of_life(impatient: Rehearsal, sink: Sink) -> None:
    wait_for(lambda: bool(sink.came("beat")), "a sign of life", seconds=120)
    for name in NAMES:
        impatient.exec(name, "systemctl stop bastide-alerts")
    sink.forget()
    try:
        # longer than two signs of life are apart
        ends = time.monotonic() + 130
        wait_for(lambda: bool(sink.came("beat")) or time.monotonic() > ends, "the time to pass", seconds=140)
        assert sink.came("beat") == []
    finally:
        for name in NAMES:
            impatient.exec(name, "systemctl start bastide-alerts")
    wait_for(lambda: bool(sink.came("beat")), "a sign of life", seconds=120)


@pytest.mark.full("alerts-ways")
def test_a_way_that_is_none_loses_nothing(impatient: Rehearsal, sink: Sink) -> None:
    sink.breaks(mail="refuse", hook="drop", beat="refuse")
    impatient.exec("primary", f"systemd-run -q --unit={UNIT}-3 false; true")
    try:
        log = "journalctl -q -u bastide-alerts --since=-2min -o cat"
        wait_for(lambda: "not now" in impatient.exec("witness", log).stdout, "a refused mail", seconds=TOLD_SECONDS)
        assert sink.came() == []
        sink.breaks(mail="refuse")
        subject = f"primary: the unit {UNIT}-3.service has failed"
        assert sink.wait(subject, way="hook", seconds=420) in ("witness", "standby")
        assert sink.came() == []
    finally:
        sink.breaks()
        impatient.exec("primary", f"systemctl reset-failed {UNIT}-3")
        # a way that refused a message is left alone for five minutes, and meanwhile the next machine tells; one that
        # begins anew tries all its ways before it is ready
        for name in NAMES:
            impatient.exec(name, f"systemctl restart {WATCH}")


@pytest.mark.full("alerts-ways")
def test_a_full_disk_is_told(impatient: Rehearsal, sink: Sink) -> None:
    impatient.lab("fill", "standby", "--leave", "20")
    try:
        assert sink.wait("standby: the disk at / is nearly full", seconds=180) == "witness"
    finally:
        impatient.lab("unfill", "standby")
    assert sink.wait("standby: resolved: the disk at / is nearly full", seconds=120) == "witness"
