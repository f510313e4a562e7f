"""The lab's object storage: what it is started with, its certificate, and what the operator's side makes of it."""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from bastide.errors import LabError, StackError
from bastide.provider import Access
from bastide.secrets import storage_keys_from
from bastide.stackfile import load
from lab import cli
from lab.arguments import parser
from lab.place import Place
from lab.services import service, storage
from lab.services.storage import Wanted
from stacks.ops import init, lifecycle

ROOT = Path(__file__).parents[3]
HERE = Place("x", "x", 0)


def wanted(folder: Path, access: str = "operator", secret: str = "canary-0123456789") -> Wanted:
    program = folder / "minio"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return Wanted(program, access, secret)


def test_its_certificate_names_its_address_and_its_key_fits(tmp_path: Path) -> None:
    made = storage.make_certificate("storage", ["198.18.0.4"])
    certificate = x509.load_pem_x509_certificate(made["public.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["198.18.0.4"]
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    context = ssl.create_default_context(cafile=str(tmp_path / "public.crt"))
    context.load_cert_chain(tmp_path / "public.crt", tmp_path / "private.key")


@pytest.mark.parametrize("change", [{"access": "a"}, {"access": "with space"}, {"secret": "short"}])
def test_keys_that_the_server_would_refuse_are_refused_before(tmp_path: Path, change: dict[str, str]) -> None:
    with pytest.raises(LabError, match="keys are not"):
        storage.check(wanted(tmp_path, **change))


def test_a_missing_program_is_refused_before(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no object storage") as caught:
        storage.check(Wanted(tmp_path / "gone", "operator", "canary-0123456789"))
    assert "make setup" in caught.value.hint


def test_keys_go_by_the_environment_and_new_ones_restart_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[tuple[list[str], dict[str, str], bool]] = []

    def ensure(place: Any, who: Any, argv: list[str], *, env: dict[str, str], restart: bool) -> bool:
        lines = [f"export {name}={service.quoted(value)}\n" for name, value in env.items()]
        who.environment(place).write_text("".join(lines))
        started.append((argv, env, restart))
        return True

    monkeypatch.setattr(service, "ensure", ensure)
    for secret in ("canary-0123456789", "canary-0123456789", "canary-another-one"):
        storage.ensure(HERE, wanted(tmp_path, secret=secret), restart=False)
    assert [restart for _, _, restart in started] == [True, False, True]
    for argv, env, _ in started:
        assert not any("canary" in word for word in argv)
        assert env["MINIO_ROOT_PASSWORD"].startswith("canary")
    key = storage.SERVICE.settings(HERE) / "certs" / "private.key"
    assert key.stat().st_mode & 0o777 == 0o640
    assert "BEGIN CERTIFICATE" in storage.certificate(HERE)
    assert list(storage.SERVICE.folder(HERE).iterdir()) == [], "root writes nothing where the program can"


@pytest.mark.parametrize(("text", "good"), [("token", False), ("token access secret", True), ("token access", False)])
def test_the_keys_come_with_the_token(tmp_path: Path, text: str, good: bool) -> None:
    (tmp_path / "words").write_text(text)
    words = ["up", "--port", "20000", "--token-file", str(tmp_path / "words"), "--authorized-key", os.devnull]
    args = parser().parse_args([*words, "--info", "x", "--storage", str(tmp_path / "minio")])
    if good:
        order = cli._order(args)
        assert order.storage
        assert (order.token, order.storage.access_key, order.storage.secret_key) == ("token", "access", "secret")
    else:
        with pytest.raises(LabError, match="does not hold 3 words"):
            cli._order(args)


def test_where_it_answers_is_written_into_the_stack_file_once(tmp_path: Path) -> None:
    build = tmp_path / "build" / "lab"
    build.mkdir(parents=True)
    (tmp_path / "stacks").mkdir()
    file = tmp_path / "stacks" / "Pulumi.lab.yaml"
    file.write_text((ROOT / "stacks" / "Pulumi.example.yaml").read_text())
    found = {"endpoint": "https://198.18.0.4", "certificate": "PEM"}
    (build / "lab.json").write_text(json.dumps({"storage": found}))
    lifecycle._settle_storage("lab", tmp_path)
    written = load(file)["config"]["bastide:settings"]["storage"]
    assert (written["endpoint"], written["certificate"]) == ("https://198.18.0.4", "build/lab/storage.crt")
    assert (build / "storage.crt").read_text() == "PEM"
    assert "# Where it answers." in file.read_text(), "comments stay"
    before = file.stat().st_mtime_ns
    lifecycle._settle_storage("lab", tmp_path)
    assert file.stat().st_mtime_ns == before


def test_the_checks_get_the_keys_where_they_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(stack: str, root: Path) -> None:
        raise StackError("no passphrase")

    monkeypatch.setattr(init, "read", lambda path: SimpleNamespace(storage=object()))
    monkeypatch.setattr(init, "opened", refuse)
    assert init.storage_variables("lab", tmp_path) == "", "who has no passphrase may check everything else"
    keys = storage_keys_from("lab", {"storage": {"access_key": "a", "secret_key": "it's"}})
    monkeypatch.setattr(init, "opened", lambda stack, root: SimpleNamespace(storage_keys=lambda: keys))
    lines = init.storage_variables("lab", tmp_path).splitlines()
    assert lines[0] == "export BASTIDE_STORAGE_ACCESS_KEY=a"
    access = Access("https://api.example.eu/v1", "t'oken")
    both = SimpleNamespace(storage_keys=lambda: keys, access=lambda: access)
    monkeypatch.setattr(init, "opened", lambda stack, root: both)
    own = ["export BASTIDE_PROVIDER_ENDPOINT=https://api.example.eu/v1", "export BASTIDE_PROVIDER_TOKEN='t'\"'\"'oken'"]
    assert init.check_variables("lab", tmp_path).splitlines() == [*lines, *own]
    monkeypatch.setattr(init, "read", lambda path: SimpleNamespace(storage=None))
    assert init.storage_variables("lab", tmp_path) == ""
    assert init.check_variables("lab", tmp_path).splitlines() == own


def test_missing_keys_are_named_with_the_next_step() -> None:
    for secrets in (None, {}, {"storage": {"access_key": "a"}}):
        with pytest.raises(StackError, match="no keys") as caught:
            storage_keys_from("prod", secrets)
        assert "secrets.storage.access_key" in caught.value.hint
