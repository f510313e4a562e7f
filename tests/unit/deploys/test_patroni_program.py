"""What Patroni takes of what stands in etcd, where whoever votes could write: numbers and plain words, by name."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import types
from typing import Any, NamedTuple

import pytest

from bastide.cluster import cluster_of
from bastide.layout.postgres import PROGRAM
from bastide.settings import Settings
from deploys.postgres import patroni
from tests.unit.bastide.test_cluster import KEYRING, NAMES
from tests.unit.deploys.box import MACHINES

CLUSTER = cluster_of(NAMES, MACHINES[0], "prod")
EVIL: dict[str, Any] = {
    "standby_cluster": {"host": "192.0.2.1", "restore_command": "touch /tmp/x", "create_replica_methods": ["evil"]},
    "slots": {"evil": {"type": "logical", "database": "app", "plugin": "/tmp/x"}},
    "postgresql": {
        "callbacks": {"on_start": "touch /tmp/x"},
        "create_replica_methods": ["evil"],
        "evil": {"command": "touch /tmp/x"},
        "pg_hba": ["host all all 0.0.0.0/0 trust"],
        "custom_conf": "/tmp/x",
        "recovery_conf": {"restore_command": "touch /tmp/x"},
        "parameters": {
            "archive_command": "touch /tmp/x",
            "archive_command = 'touch /tmp/x' #.": "x",
            "wal_keep_size": "1'\narchive_command = 'touch /tmp/x",
            "shared_preload_libraries": "/tmp/x",
        },
    },
}


class ClusterConfig(NamedTuple):
    version: int
    data: Any
    modify_version: int


class Config:
    taken: Any = None

    def set_dynamic_configuration(self, configuration: Any) -> bool:
        self.taken = configuration.data if isinstance(configuration, ClusterConfig) else configuration
        return True


class GlobalConfig(types.ModuleType):
    taken: Any = None

    def update(self, cluster: Any, default: Any = None) -> None:
        self.taken = cluster.config.data if cluster and cluster.config else default


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The program's names, where these stand for Patroni's own modules."""

    def module(name: str, **names: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        for key, value in names.items():
            setattr(made, key, value)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    config = type("Config", (Config,), {"set_dynamic_configuration": Config.set_dynamic_configuration})
    seen = type("GlobalConfig", (GlobalConfig,), {"update": GlobalConfig.update})("global_config")
    module("patroni", global_config=seen)
    module("patroni.__main__", main=None)
    module("patroni.config", Config=config)
    module("patroni.dcs", ClusterConfig=ClusterConfig)
    names: dict[str, Any] = {"__name__": "program"}
    exec(text(), names)
    return names


def text(settings: Settings = NAMES) -> str:
    files = patroni.member_files(cluster_of(settings, MACHINES[0], "prod"), KEYRING, {})
    return next(str(file.content) for file in files if file.path == PROGRAM)


def test_all_that_is_declared_counts_and_so_does_a_pause(program: dict[str, Any]) -> None:
    wanted = patroni.shared(CLUSTER) | {"pause": True}
    assert program["taken"](json.loads(json.dumps(wanted))) == wanted


def test_nothing_that_runs_a_program_or_lets_somebody_in_counts(
    program: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        left = program["taken"](EVIL)
    assert left == {"postgresql": {"parameters": {}}}
    assert "'postgresql.callbacks'" in caplog.text
    assert "touch" not in caplog.text.replace("'touch /tmp/x' #.", ""), "what it says stays in etcd"
    lines = len(caplog.records)
    program["taken"](EVIL)
    assert len(caplog.records) == lines, "said once"
    assert program["taken"]("nonsense") == {}
    program["taken"](EVIL)
    assert len(caplog.records) == 2 * lines, "and again, when it was gone meanwhile"
    assert program["taken"]({"postgresql": ["nonsense"]}) == {"postgresql": {}}


def test_patroni_sees_it_by_neither_of_its_two_ways(program: dict[str, Any]) -> None:
    whole = ClusterConfig(7, {**EVIL, "ttl": 20}, 7)
    left = {"ttl": 20, "postgresql": {"parameters": {}}}
    config = program["Config"]()
    assert config.set_dynamic_configuration(whole)
    assert config.taken == left
    config.set_dynamic_configuration(whole.data)
    assert config.taken == left, "nor what it kept from before"
    seen = program["global_config"]
    seen.update(types.SimpleNamespace(config=whole))
    assert seen.taken == left
    seen.update(None, whole.data)
    assert seen.taken == left
    assert whole.data["standby_cluster"], "what etcd says is told to whoever looks"


def test_it_is_python(tmp_path: Any) -> None:
    file = tmp_path / "patroni"
    file.write_text(text())
    subprocess.run([sys.executable, "-m", "py_compile", str(file)], check=True)
