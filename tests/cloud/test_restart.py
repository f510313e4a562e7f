"""The state survives: a kill at any moment, a restart, a full disk, machines that have gone missing."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from bastide.errors import LabError
from lab.cloud import state as state_module
from lab.cloud.app import create_app
from lab.cloud.no_machines import NoMachines
from lab.cloud.state import KEPT_ACTIONS, State
from tests.cloud.conftest import DIGEST, TOKEN, Api, free_port, wait_until
from tests.cloud.test_ssh_keys import new_key

ORDER = {"name": "web", "server_type": "cx23", "image": "debian-13", "location": "fsn1"}


@contextlib.contextmanager
def process(state: Path, port: int, delay: float) -> Iterator[subprocess.Popen[bytes]]:
    """The API as a process of its own, killed without warning at the end."""
    # a daemon, so not console.run: it must still run while we ask it
    argv = [sys.executable, str(Path(__file__).with_name("serve.py")), str(state), str(port), DIGEST, str(delay)]
    running = subprocess.Popen(argv, cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: answers(port) or running.poll() is not None, within=20)
        assert running.poll() is None
        yield running
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def answers(port: int) -> bool:
    try:
        return bool(requests.get(f"http://127.0.0.1:{port}/v1/locations", timeout=5).status_code == 401)
    except requests.ConnectionError:
        return False


@pytest.fixture
def remote(tmp_path: Path, judged: Callable[[requests.Session], requests.Session]) -> Api:
    session = judged(requests.Session())
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    url = f"http://127.0.0.1:{free_port()}"
    return Api(url, NoMachines(), session, tmp_path / "state.json", lambda **more: None)


def test_killed_in_the_middle_of_actions(remote: Api) -> None:
    port = int(remote.url.rpartition(":")[2])
    with process(remote.state, port, delay=1.0):
        made = [remote.ok("POST", "/servers", {**ORDER, "name": f"m{i}"}) for i in range(3)]
        wait_until(lambda: remote.ok("GET", f"/actions/{made[0]['action']['id']}")["action"]["progress"] > 0)
    with process(remote.state, port, delay=0.0):
        for one in made:
            for action in [one["action"], *one["next_actions"]]:
                assert remote.done(action)["status"] == "success"
        servers = remote.ok("GET", "/servers")["servers"]
        assert [server["status"] for server in servers] == ["running"] * 3
        assert [server["public_net"] for server in servers] == [one["server"]["public_net"] for one in made]
        last = remote.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16"})["network"]
        assert last["id"] > max(action["id"] for one in made for action in one["next_actions"])
        path = f"/servers/{servers[0]['id']}"
        remote.done(remote.ok("DELETE", path)["action"])
    with process(remote.state, port, delay=0.0):
        assert remote.error("GET", path) == (404, "not_found")
        assert len(remote.ok("GET", "/servers")["servers"]) == 2


def test_killed_at_any_moment_while_writing(remote: Api) -> None:
    """Changes without a pause, kills in between: what was answered is there, and the file can be read."""
    port = int(remote.url.rpartition(":")[2])
    known: list[str] = []

    def write() -> None:
        # until the process is gone; the last request may have been carried out without an answer
        with contextlib.suppress(requests.ConnectionError):
            for number in itertools.count(len(known) + 1000 * life):
                remote.ok("POST", "/ssh_keys", {"name": f"key-{number}", "public_key": new_key()})
                known.append(f"key-{number}")

    for life in range(4):
        with process(remote.state, port, delay=0.0) as running:
            writer = threading.Thread(target=write)
            before = len(known)
            writer.start()
            wait_until(functools.partial(lambda least: len(known) >= least, before + 5 + life))
            running.kill()
            writer.join(10)
        stored = [key["name"] for key in json.loads(remote.state.read_text())["ssh_keys"].values()]
        assert [name for name in known if name not in stored] == []
        assert len(stored) - len(known) <= life + 1


def test_the_machines_converge(api: Api) -> None:
    keep, lost = api.server("keep"), api.server("lost")
    off = api.server("off")
    api.done(api.ok("POST", f"/servers/{off['id']}/actions/poweroff")["action"])
    network = api.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16", "subnets": [
        {"type": "cloud", "network_zone": "eu-central"}]})["network"]  # fmt: skip
    for server in (keep, lost):
        path = f"/servers/{server['id']}/actions/attach_to_network"
        api.done(api.ok("POST", path, {"network": network["id"]})["action"])
    stray = api.machines.machines.pop(lost["id"])
    api.machines.machines.pop(off["id"])
    api.machines.machines[4711] = stray
    api.restart()
    told = api.machines.machines
    wait_until(lambda: set(told) == {keep["id"], lost["id"], off["id"]} and told[lost["id"]].power == "running")
    assert told[lost["id"]].nics.keys() == {network["id"]}
    assert told[lost["id"]].spec == stray.spec
    assert told[off["id"]].power == "off"
    starts = [machine for verb, machine in api.machines.calls if verb == "start"]
    assert starts.count(keep["id"]) == 1, "one that exists is left running"


def test_a_network_that_cannot_be_plugged_now_is_not_forgotten(api: Api) -> None:
    network = api.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16", "subnets": [
        {"type": "cloud", "network_zone": "eu-central"}]})["network"]  # fmt: skip
    server = api.server(networks=[network["id"]])
    api.machines.failing.add("attach")
    tried = len([verb for verb, _ in api.machines.calls if verb == "attach"])
    api.restart()
    wait_until(lambda: len([verb for verb, _ in api.machines.calls if verb == "attach"]) > tried)
    path = f"/servers/{server['id']}/actions/change_alias_ips"
    order = {"network": network["id"], "alias_ips": ["10.0.0.9"]}
    assert api.done(api.ok("POST", path, order)["action"])["status"] == "error"
    assert len(api.ok("GET", f"/servers/{server['id']}")["server"]["private_net"]) == 1


def test_a_machine_that_crashed_stays_off(api: Api) -> None:
    server = api.server()
    api.machines.machines[server["id"]].power = "off"
    before = len(api.machines.calls)
    api.restart()
    # what comes later waits in the machine's lane until the start has mended what it wanted to mend
    api.done(api.ok("POST", f"/servers/{server['id']}/actions/poweroff")["action"])
    assert "start" not in [verb for verb, _ in api.machines.calls[before:]]
    assert api.ok("GET", f"/servers/{server['id']}")["server"]["status"] == "off"


def test_a_full_disk_loses_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    server = api.server()

    def full(file: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(state_module, "_replace", full)
        response = api.ask("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16"})
        assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
        assert "No space left" in response.json()["error"]["message"]
        assert api.error("DELETE", f"/servers/{server['id']}") == (503, "unavailable")
        assert api.ok("GET", "/networks")["networks"] == []
        assert api.ok("GET", f"/servers/{server['id']}")["server"]["status"] == "running"
    api.ok("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16"})


def test_an_action_ends_even_on_a_full_disk(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.machines.seconds = 0.3
    made = api.ok("POST", "/servers", ORDER)

    def full(file: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(state_module, "_replace", full)
        assert api.done(made["action"])["status"] == "error"
        assert api.done(made["next_actions"][0])["status"] == "error"


def test_a_state_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    for text in ("{", "[]", "{}", '{"version": 1}'):
        file.write_text(text)
        with pytest.raises(LabError, match="is not a state file"):
            create_app(file, DIGEST, NoMachines())
    file.write_text(
        json.dumps({"version": 99, "last_id": 1, "cursors": {}, **{name: {} for name in state_module.COLLECTIONS}})
    )
    with pytest.raises(LabError, match="another version"):
        create_app(file, DIGEST, NoMachines())


def test_the_state_file_is_private_and_the_past_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    state = State(file)
    with state.change() as tables:
        for _ in range(KEPT_ACTIONS + 50):
            key = tables.new_id()
            action: dict[str, Any] = {"id": key, "status": "running" if key < 1010 else "success"}
            tables.actions[key] = action
    assert file.stat().st_mode & 0o777 == 0o600
    with State(file).read() as tables:
        assert sum(action["status"] == "success" for action in tables.actions.values()) == KEPT_ACTIONS
        assert sum(action["status"] == "running" for action in tables.actions.values()) == 9


def test_a_change_is_all_or_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json")
    with state.change() as tables:
        tables.networks[1] = {"id": 1, "list": [1]}

    def half_a_change() -> None:
        with state.change() as tables:
            tables.networks[1]["list"].append(2)
            tables.networks[2] = {"id": 2}
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        half_a_change()
    with state.read() as tables:
        assert tables.networks == {1: {"id": 1, "list": [1]}}
