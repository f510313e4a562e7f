"""What a machine says of its alerts, and what the checks make of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from bastide.layout.alerts import PROGRAM
from bastide.settings import Settings
from deploys.alerts.program.peers import Publisher
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify import test_alerts as checks
from tests.verify.probes.remote import alerts_seen
from tests.verify.probes.world import Observation, Output
from tests.verify.programs import DIGESTS

PRIMARY, STANDBY, WITNESS = inventory().machines
OTHERS = (STANDBY.name, WITNESS.name)


def test_a_page_is_read_and_another_address_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = Publisher("127.0.0.1", 0)
    publisher.show({"version": 1, "name": "primary", "at": 5, "able": True, "sees": {"standby": True}, "findings": {}})
    assert publisher._server is not None
    port = publisher._server.server_address[1]
    (tmp_path / "memory").write_text(json.dumps({"round": 3, "channels": {"mail": {"ok": True, "secret": "no"}}}))
    alerts_seen.main(
        {"name": "primary", "program": str(tmp_path), "config": str(tmp_path / "none"),
         "memory": str(tmp_path / "memory"), "port": port, "pages": {"primary": "127.0.0.1", "other": "127.0.0.2"},
         "elsewhere": {"primary": ["127.0.0.3"]}}
    )  # fmt: skip
    publisher._server.shutdown()
    publisher._server.server_close()
    said = json.loads(capsys.readouterr().out)
    assert said["pages"] == {"primary": {"at": 5, "able": True, "sees": {"standby": True}}, "other": None}
    assert said["elsewhere"] == {"primary 127.0.0.3": False}
    assert said["posted"] == 501
    assert said["ways"] == {"mail": {"ok": True, "at": None, "checked": None, "said": None}}


def seen(**more: Any) -> Output:
    now = time.time()
    ways = {name: {"ok": True, "at": now, "checked": now, "said": "250"} for name in ("mail", "webhook", "heartbeat")}
    page = {"at": now, "able": True, "sees": {"primary": True, **dict.fromkeys(OTHERS, True)}}
    assert SETTINGS.alerts is not None
    assert SETTINGS.alerts.mail is not None
    config = {
        "mail": SETTINGS.alerts.mail.model_dump(mode="json"),
        "disk_percent": SETTINGS.alerts.disk_percent,
        "peers": {name: SETTINGS.mesh[name] for name in OTHERS},
        "order": SETTINGS.one_at_a_time,
        "silent_minutes": SETTINGS.alerts.silent_minutes,
        "cluster": {"sites": list(SETTINGS.sites)},
    }
    said = {
        "now": now, "round": now - 9, "blind": [], "ways": ways, "digest": DIGESTS[PROGRAM][0], "config": config,
        "pages": dict.fromkeys(("primary", *OTHERS), page), "elsewhere": {"primary 198.18.0.1": False},
        "posted": 501, "listening": ["10.21.0.11:7070"],
    }  # fmt: skip
    return Output(0, json.dumps({**said, **more}))


def judge(name: str, **more: Any) -> str:
    """What a check says of it; "" when it is green."""
    from datetime import UTC, datetime

    given: dict[str, Any] = {"machine": PRIMARY, "inventory": inventory(), "settings": SETTINGS, "note": print}
    check = getattr(checks, name)
    data: Any = {"primary": seen(**more)} if name == "test_the_signal_is_sent" else seen(**more)
    names = check.__code__.co_varnames[: check.__code__.co_argcount]
    given["observation"] = Observation("", data, datetime.now(UTC), 0.0)
    try:
        check(**{key: given[key] for key in names})
    except AssertionError as error:
        return str(error).splitlines()[0]
    return ""


BROKEN = {"ok": False, "at": 1.0, "checked": 1.0, "said": "535 no"}


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("test_a_machine_looks_at_itself", {"round": None}, "it remembers no look at itself"),
        ("test_a_machine_looks_at_itself", {"round": 1}, "the last look was "),
        ("test_a_machine_looks_at_itself", {"blind": ["units"]}, "it cannot look at its units"),
        ("test_a_machine_looks_at_itself", {"digest": "x"}, "the program is another one"),
        ("test_every_way_is_open", {"ways": {}}, "mail was never tried"),
        ("test_every_way_is_open", {"ways": {"mail": BROKEN}}, "no message gets out by mail: 535 no"),
        ("test_every_way_is_open", {"config": {}}, "mail goes to other people than declared"),
        ("test_it_reads_every_other_machine", {"pages": {"primary": None}}, "it shows the others nothing"),
        ("test_it_reads_every_other_machine", {"config": {"peers": {}}}, "it does not look at every other machine"),
        ("test_a_machine_looks_at_itself", {"blind": ["database"]}, "it cannot look at its database"),
        ("test_nobody_else_reads_it", {"listening": ["0.0.0.0:7070"]}, "it listens at 0.0.0.0:7070"),
        (
            "test_nobody_else_reads_it",
            {"elsewhere": {"standby 1": True}},
            "it is reached outside of the mesh: standby 1",
        ),
        ("test_nobody_else_reads_it", {"posted": 200}, "it takes what is sent to it (200)"),
        ("test_the_signal_is_sent", {"ways": {}}, "no machine's call was answered"),
        ("test_the_signal_is_sent", {"ways": {"heartbeat": {"ok": True, "at": 1.0}}}, "the last call was "),
    ],
)
def test_what_is_wrong_is_said(name: str, more: dict[str, Any], says: str) -> None:
    assert judge(name) == "", "it is green when all is well"
    assert judge(name, **more).startswith(says)


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        (
            "test_a_machine_looks_at_itself",
            {"round": None, "blind": ["units"], "digest": "x"},
            "it remembers no look at itself; it cannot look at its units; the program is another one",
        ),
        (
            "test_every_way_is_open",
            {"ways": {"webhook": {**BROKEN, "at": None, "checked": None}}, "config": {}},
            "mail was never tried; no message gets out by webhook: 535 no; webhook was tried ",
        ),
        (
            "test_it_reads_every_other_machine",
            {"pages": {"primary": {"sees": {}}}, "config": {}},
            "it does not read standby; standby shows nothing here; it does not read witness; "
            "witness shows nothing here; it does not look at every other machine; it has another order of who tells; "
            "it looks at the databases of other sites; it waits for another time",
        ),
        (
            "test_nobody_else_reads_it",
            {"listening": ["*:7070"], "elsewhere": {"a": True, "b": True}, "posted": 200},
            "it listens at *:7070; it is reached outside of the mesh: a, b; it takes what is sent to it (200)",
        ),
    ],
)
def test_all_that_is_wrong_is_said(name: str, more: dict[str, Any], says: str) -> None:
    assert judge(name, **more).startswith(says)


def test_the_example_declares_alerts() -> None:
    assert isinstance(SETTINGS, Settings)
    assert SETTINGS.alerts is not None
