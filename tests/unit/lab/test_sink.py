"""The lab's sink: what it is started with, what it takes from whom, and where a stack finds it."""

from __future__ import annotations

import json
import os
import smtplib
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bastide.errors import LabError
from bastide.secrets import AlertSecrets
from bastide.stackfile import load, read
from lab import cli
from lab.arguments import parser
from lab.place import Place
from lab.services import service, sink, sink_server
from stacks.ops import lifecycle

ROOT = Path(__file__).parents[3]
HERE = Place("lab", "lab12345", 3)


def test_its_words_go_by_the_environment_and_another_one_starts_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str], bool]] = []

    def ensure(place: Any, who: Any, argv: list[str], *, env: dict[str, str], restart: bool) -> bool:
        started.append((argv, env, restart))
        return True

    monkeypatch.setattr(service, "ensure", ensure)
    for password in ("canary-0123456789", "canary-0123456789", "canary-another-one"):
        sink.ensure(HERE, sink.Wanted("alerts", password, "canary-hook", "canary-beat"), restart=False)
    assert [restart for _, _, restart in started] == [True, False, True]
    for argv, env, _ in started:
        assert not any("canary" in word for word in argv)
        assert env["SINK_HOOK"] == "canary-hook"
        assert Path(argv[2]).read_text() == Path(sink_server.__file__).read_text()
    assert "BEGIN CERTIFICATE" in sink.certificate(HERE)
    assert "canary" not in (HERE.folder / "sink.json").read_text()
    assert list(sink.SERVICE.folder(HERE).iterdir()) == [], "root writes nothing where the program can"


@pytest.mark.parametrize("word", ["short", "with/slash", "with space here"])
def test_words_that_make_no_url_are_refused(word: str) -> None:
    with pytest.raises(LabError, match="the sink's words"):
        sink.check(sink.Wanted("alerts", "s3cret-enough", word, "long-enough"))


@pytest.mark.parametrize(("text", "good"), [("token user password hook beat", True), ("token user", False)])
def test_its_words_come_with_the_token(tmp_path: Path, text: str, good: bool) -> None:
    (tmp_path / "words").write_text(text)
    words = ["up", "--port", "20000", "--token-file", str(tmp_path / "words"), "--authorized-key", os.devnull]
    args = parser().parse_args([*words, "--info", "x", "--sink"])
    if good:
        assert cli._order(args).sink == sink.Wanted("user", "password", "hook", "beat")
    else:
        with pytest.raises(LabError, match="does not hold 5 words"):
            cli._order(args)


def test_where_it_is_stands_in_the_stack_file_and_in_the_secret_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = tmp_path / "build" / "lab"
    build.mkdir(parents=True)
    (tmp_path / "stacks").mkdir()
    file = tmp_path / "stacks" / "Pulumi.lab.yaml"
    file.write_text((ROOT / "stacks" / "Pulumi.example.yaml").read_text())
    (build / "lab.json").write_text(json.dumps({"sink": {"host": "198.18.0.7", "certificate": "PEM"}}))
    set_: dict[str, str] = {}

    def keep(stack: str, root: Path, env: object, key: str, value: str, *, path: bool) -> None:
        set_[key.rpartition(".")[2]] = value

    monkeypatch.setattr(lifecycle, "set_secret", keep)
    monkeypatch.setattr(lifecycle, "passphrase_env", lambda *_, **__: {})
    words = lifecycle.sink_words(read(file), AlertSecrets())
    lifecycle._settle_alerts("lab", tmp_path, words, AlertSecrets(), tls=False)
    alerts = load(file)["config"]["bastide:settings"]["alerts"]
    assert (alerts["mail"]["host"], alerts["certificate"]) == ("198.18.0.7", "build/lab/sink.crt")
    assert (alerts["mail"]["port"], alerts["mail"]["tls"]) == (587, "starttls")
    assert words[0] == "alerts@example.eu"
    assert set_ == {
        "mail_password": words[1],
        "webhook_url": f"https://198.18.0.7/hook/{words[2]}",
        "heartbeat_url": f"https://198.18.0.7/beat/{words[3]}",
    }
    before = file.stat().st_mtime_ns
    known = AlertSecrets(**{name: SecretStr(value) for name, value in set_.items()})
    set_.clear()
    assert lifecycle.sink_words(read(file), known) == words, "what is there stays"
    lifecycle._settle_alerts("lab", tmp_path, words, known, tls=False)
    assert (file.stat().st_mtime_ns, set_) == (before, {})
    file.write_text(file.read_text().replace("tls: starttls", "tls: tls").replace("port: 587", "port: 465"))
    assert lifecycle._over_tls(read(file)), "the operator's choice"
    lifecycle._settle_alerts("lab", tmp_path, words, known, tls=True)
    assert load(file)["config"]["bastide:settings"]["alerts"]["mail"]["port"] == 465


@pytest.mark.parametrize("faults", [{"mail": "sulks"}, {"telex": "slow"}, ["mail"], {"mail": 3}])
def test_a_fault_that_is_none_is_refused(faults: Any) -> None:
    with pytest.raises(ValueError, match="faults are"):
        sink_server.Kept().break_(faults)


def test_without_tls_nobody_may_log_in(tmp_path: Path) -> None:
    from threading import Thread

    from lab.services.certificate import CERTIFICATE, KEY, make_certificate

    for name, content in make_certificate("sink", ["127.0.0.1"]).items():
        (tmp_path / name).write_bytes(content)
    https, smtp, smtps = sink_server.servers("127.0.0.1", str(tmp_path / CERTIFICATE), str(tmp_path / KEY), (0, 0, 0))
    Thread(target=smtp.serve_forever, args=(0.02,), daemon=True).start()
    with smtplib.SMTP("127.0.0.1", smtp.server_address[1], timeout=10) as relay:
        assert relay.docmd("AUTH PLAIN AGEAYg==")[0] == 530
        assert relay.docmd("MAIL FROM:<a@example.eu>")[0] == 530
        relay.starttls(context=ssl.create_default_context(cafile=str(tmp_path / CERTIFICATE)))
        assert relay.docmd("MAIL FROM:<a@example.eu>")[0] == 530
    smtp.shutdown()
    for one in (https, smtp, smtps):
        one.server_close()
