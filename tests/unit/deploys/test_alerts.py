"""What machines tell people: who tells, when, and what becomes of it when a way or a machine is gone."""

from __future__ import annotations

import json
import smtplib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bastide.errors import StackError
from bastide.layout.alerts import CONFIG
from bastide.secrets import AlertSecrets
from bastide.settings import Settings
from deploys.alerts import deploy as alerts
from deploys.alerts.program import channels, findings, telling
from deploys.alerts.program.channels import Mail, Message, call, trust
from deploys.alerts.program.peers import Peers, Publisher, findings_of, told_of
from deploys.alerts.program.telling import SILENT, due, merge, noted, teller
from lab.services import sink_server
from tests.unit.deploys.box import ALERTS, MACHINES, SECRETS, SETTINGS, here
from tests.unit.deploys.telling import FINDING, ORDER

DECLARED = Settings.model_validate({**SETTINGS.model_dump(), "alerts": ALERTS})
HOUR = 3600


def test_secrets_are_files_of_roots_and_stand_nowhere_else() -> None:
    wanted = alerts.wanted_of(here(settings=DECLARED, alert_secrets=SECRETS))
    files = {file.path: file for file in alerts.program_files(wanted)}
    secret = [file for file in files.values() if isinstance(file.content, SecretStr)]
    assert [Path(file.path).name for file in secret] == ["mail_password", "webhook_url", "heartbeat_url"]
    assert {(file.mode, file.owner) for file in secret} == {(0o600, "root")}
    texts = [str(file.content) for file in files.values() if isinstance(file.content, str)]
    for word in ("s3cret", "hook.example.eu", "beat.example.eu"):
        assert not any(word in text for text in texts)
    config = json.loads(str(files[CONFIG].content))
    assert config["order"] == ORDER
    assert config["peers"] == {"standby": "10.21.0.12", "witness": "10.21.0.13"}


@pytest.mark.parametrize("mesh", [True, False])
def test_only_without_a_mesh_it_may_ping(mesh: bool) -> None:
    settings = DECLARED if mesh else DECLARED.model_copy(update={"wireguard": None})
    files = alerts.program_files(alerts.wanted_of(here(settings=settings, alert_secrets=SECRETS)))
    (unit,) = [str(file.content) for file in files if file.path.endswith("/bastide-alerts.service")]
    assert ("AmbientCapabilities=CAP_NET_RAW" in unit, "capset @setuid" in unit) == (not mesh, not mesh)


def test_without_alerts_nothing_is_left() -> None:
    assert all(file.content is None for file in alerts.program_files(alerts.wanted_of(here())))


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        (AlertSecrets(), "needs the secret bastide:secrets.alerts.mail_password"),
        (AlertSecrets(SecretStr("a"), SecretStr("http://a"), SecretStr("https://b")), "must be one URL that begins"),
    ],
)
def test_a_missing_secret_is_named_and_not_shown(secrets: AlertSecrets, message: str) -> None:
    with pytest.raises(StackError, match=message) as caught:
        alerts.wanted_of(here(settings=DECLARED, alert_secrets=secrets))
    assert caught.value.hint.startswith("pulumi config set --secret --path bastide:secrets.alerts.")
    assert "http://a" not in str(caught.value)


@pytest.mark.parametrize(
    ("subject", "able", "who"),
    [
        ("primary", {"witness", "standby", "primary"}, "witness"),
        ("witness", {"witness", "standby", "primary"}, "standby"),
        ("primary", {"standby", "primary"}, "standby"),
        ("primary", {"primary"}, ""),
    ],
)
def test_another_machine_tells(subject: str, able: set[str], who: str) -> None:
    assert teller(ORDER, subject, able) == who


def test_what_lasts_is_told_once_then_after_the_time_then_that_it_is_over() -> None:
    told: dict[str, Any] = {}
    found = {"unit/x": FINDING}

    def told_at(now: float, findings: dict[str, Any], *, complete: bool = True) -> list[str]:
        states = due("primary", findings, told, now, 24 * HOUR, complete=complete)
        for one in states:
            noted(told, one, now, 24 * HOUR)
        return [one.state for one in states]

    assert told_at(200, found) == ["alert"]
    assert told_at(300, found) == []
    assert told_at(200 + 24 * HOUR, found) == ["again"]
    assert told_at(300 + 24 * HOUR, {}, complete=False) == [], "nobody knows what a silent machine has"
    assert told_at(400 + 24 * HOUR, {}) == ["resolved"]
    assert told_at(500 + 24 * HOUR, {}) == []
    assert told_at(600 + 24 * HOUR, found) == ["alert"]


def test_what_comes_and_goes_is_no_storm() -> None:
    told: dict[str, Any] = {}
    said = []
    for now in range(0, 20 * 60, 60):
        findings_now = {"unit/x": {**FINDING, "since": float(now)}} if now % 120 else {}
        for one in due("primary", findings_now, told, now, 24 * HOUR, complete=True):
            noted(told, one, now, 24 * HOUR)
            said.append(one.state)
    assert said == ["alert", "resolved"] * 3
    found = due("primary", {"unit/x": FINDING}, told, 25 * HOUR, 24 * HOUR, complete=True)
    assert [one.state for one in found] == ["alert"]


def test_what_happened_is_told_again_only_when_it_happens_again_and_is_never_over() -> None:
    told: dict[str, Any] = {}
    event = {**FINDING, "event": True}

    def states(now: float, **found: Any) -> list[str]:
        waiting = due("primary", found, told, now, HOUR, complete=True)
        for one in waiting:
            noted(told, one, now, HOUR)
        return [one.state for one in waiting]

    assert states(200, line=event) == ["alert"]
    assert states(3 * HOUR, line=event) == [], "it came once"
    assert states(4 * HOUR, line={**event, "last": 3.5 * HOUR}) == ["again"]
    assert states(9 * HOUR) == []
    assert telling.forget(told, 3 * 24 * HOUR, HOUR, ["primary"]) == {}


def test_a_machine_that_is_no_more_is_forgotten() -> None:
    told = {"old/unit/x": {**FINDING, "state": "told", "at": 1.0, "first": 1.0, "times": 1}}
    assert telling.forget(told, 2, HOUR, ["primary"]) == {}
    assert telling.forget(told, 2, HOUR, ["old"]) == told


def test_a_silent_machine_is_over_as_soon_as_it_answers() -> None:
    told = {f"primary/{SILENT}": {**FINDING, "state": "told", "at": 1.0, "first": 1.0, "times": 1}}
    assert [one.state for one in due("primary", {}, told, 2, HOUR, complete=False)] == ["resolved"]


def test_who_takes_over_knows_what_was_told_whatever_the_clocks_say() -> None:
    mine: dict[str, Any] = {}
    (one,) = due("primary", {"unit/x": FINDING}, mine, 900, HOUR, complete=True)
    noted(mine, one, 900, HOUR)
    theirs = merge({}, [mine])
    (over,) = due("primary", {}, theirs, 100, HOUR, complete=True)
    noted(theirs, over, 100, HOUR)  # its clock is behind
    assert merge(mine, [theirs])["primary/unit/x"]["state"] == "resolved"


def test_nobody_says_of_itself_that_people_know_already() -> None:
    entry = {**FINDING, "state": "told", "at": 1.0, "first": 1.0, "times": 1}
    page = {"told": {"primary/unit/x": entry, "standby/unit/x": entry, "bad": {"state": "told"}, "worse": 3}}
    assert list(told_of("primary", page)) == ["standby/unit/x"]
    assert findings_of({"findings": {"a": 3, "b": {"what": "x\ny", "since": 1, "last": 2}, SILENT: FINDING}}) == {
        "b": {"what": "x y", "next": "", "since": 1, "last": 2, "event": False}
    }


@pytest.mark.parametrize("text", ["a\r\nBcc: x@example.org", "a\x1b[2Jb", "a" * 5000])
def test_a_subject_is_one_line(text: str) -> None:
    subject = Message("prod", "primary", text, "alert", "witness").subject
    assert "\n" not in subject
    assert "\r" not in subject
    assert "\x1b" not in subject
    assert len(subject) <= 150


MESSAGE = Message("prod", "primary", "the unit x has failed", "alert", "witness", ("line",))


@pytest.mark.parametrize("kind", ["mail", "implicit"])
def test_a_mail_arrives_for_everybody_over_tls_with_a_login(sink: dict[str, Any], kind: str) -> None:
    mail = {**sink[kind], "recipients": ["a@example.eu", "b@example.eu"]}
    way = Mail(mail, "s3cret", trust(sink["certificate"]))
    assert way.check() == "logged in"
    assert way.send(MESSAGE).startswith("250")
    (came,) = sink_server.KEPT.show()["messages"]
    assert came["subject"] == "[prod] primary: the unit x has failed"
    assert came["port"] == sink[kind]["port"]
    assert came["recipients"] == ["a@example.eu", "b@example.eu"]
    assert came["text"] == "line\n\ntold by witness\n"


@pytest.mark.parametrize("kind", ["mail", "implicit"])
def test_a_wrong_password_or_a_stranger_is_an_error_that_shows_no_secret(sink: dict[str, Any], kind: str) -> None:
    trusted = trust(sink["certificate"])
    with pytest.raises(smtplib.SMTPException) as wrong:
        Mail(sink[kind], "wr0ng", trusted).check()
    assert "wr0ng" not in findings.text(wrong.value)
    with pytest.raises(OSError, match="certificate verify failed"):
        Mail(sink[kind], "s3cret", trust("")).check()
    # a good certificate, of somebody else
    with pytest.raises(OSError, match="certificate is not valid for 'localhost'"):
        Mail({**sink[kind], "host": "localhost"}, "s3cret", trusted).check()
    with pytest.raises(OSError, match="certificate verify failed"):
        call(f"{sink['url']}/hook/h", trust(""), {})


def test_a_call_counts_only_when_it_is_answered_with_2xx(sink: dict[str, Any]) -> None:
    trusted = trust(sink["certificate"])
    assert channels.Webhook(f"{sink['url']}/hook/h", trusted).send(MESSAGE) == "200"
    assert call(f"{sink['url']}/beat/b", trusted) == "200"
    for url in (f"{sink['url']}/hook/other", f"{sink['url']}/beat/other"):
        with pytest.raises(ValueError, match="answered 404"):
            call(url, trusted, {})
    sink_server.KEPT.break_({"hook": "refuse"})
    with pytest.raises(ValueError, match="answered 503"):
        call(f"{sink['url']}/hook/h", trusted, {})
    with pytest.raises(ValueError, match="https://"):
        call("http://127.0.0.1/", trusted)


def test_the_pages_are_shown_and_read(tmp_path: Path) -> None:
    publisher = Publisher("127.0.0.1", 0)
    publisher.show({"version": 1, "name": "witness"})
    assert publisher._server is not None
    port = publisher._server.server_address[1]
    peers = Peers({"witness": "127.0.0.1", "other": "127.0.0.2"}, port)
    assert peers.look() == {"witness": {"version": 1, "name": "witness"}}
    publisher._server.shutdown()
    publisher._server.server_close()


def test_the_journal_is_read_from_where_the_last_look_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = [{"__CURSOR": "c0"}]
    asked: list[tuple[str, ...]] = []

    def run(*argv: str) -> str:
        asked.append(argv)
        return "\n".join(map(json.dumps, lines))

    monkeypatch.setattr(findings, "run", run)
    memory: dict[str, Any] = {}
    list(findings._read_journal(memory, 1000.0))
    assert "events" not in memory
    at = {"__REALTIME_TIMESTAMP": "1000000000"}
    lines[:] = [
        {"__CURSOR": "c1", "_SYSTEMD_UNIT": "bastide-updates.service", "MESSAGE": "waits for 3.1 days", **at},
        {"__CURSOR": "c2", "_SYSTEMD_UNIT": "session-1.scope", "MESSAGE": "anna : user NOT in sudoers", **at},
        {"__CURSOR": "c3", "_SYSTEMD_UNIT": "bastide-updates.service", "MESSAGE": "waits for 3.4 days", **at},
    ]
    list(findings._read_journal(memory, 1001.0))
    assert "--after-cursor=c0" in asked[-1]
    assert memory["cursor"] == "c3"
    assert [one["what"] for one in memory["events"].values()] == ["bastide-updates.service says: waits for 3.4 days"]


def test_names_of_machines_are_all_in_the_order() -> None:
    assert {machine.name for machine in MACHINES} == set(ORDER)
