"""Runs on the machine as root: brings a member into its cluster, and makes its users.

Standard library only, since it is sent to the machine as it stands here. Passwords come over standard input and go to
etcdctl by its environment or standard input, never by argv.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

_JOIN_SECONDS = 60


def join(plan: dict[str, Any]) -> None:
    """Start the member, unless it runs; one without data first learns which cluster it belongs to.

    Data are taken away in one case: they are of a cluster that never came together (`forming`), none is there, and the
    members are others now. etcd's unit takes the mark away when the member has heard a quorum, as root.

    `plan`: name, peers and endpoints (URLs by name), begins (whether there is no cluster yet), token, data, env and
    forming (paths), ctl (etcdctl as root), unit.
    """
    data, env, forming = Path(plan["data"]), Path(plan["env"]), Path(plan["forming"])
    told = env.read_text() if env.exists() else ""
    anew = plan["begins"] and forming.exists() and told not in ("", _initial(plan, plan["peers"]))
    active = subprocess.run(["systemctl", "-q", "is-active", plan["unit"]], check=False).returncode == 0
    if active and (data / "member").is_dir() and not anew:
        return
    # one that waits for others is stopped to its end first: on its way down it would give away a leadership just won
    stopped = subprocess.run(["systemctl", "stop", plan["unit"]], capture_output=True, text=True, check=False)
    if stopped.returncode:
        _fail(stopped.stderr.strip())
    if anew and data.exists():
        shutil.rmtree(data)
    if not (data / "member").is_dir():
        text = _initial(plan, plan["peers"] if plan["begins"] else _admitted(plan))
        if plan["begins"]:
            forming.touch()
        else:
            forming.unlink(missing_ok=True)
        fresh = env.with_name(f".{env.name}")
        fresh.write_text(text)
        fresh.replace(env)
    subprocess.run(["systemctl", "reset-failed", plan["unit"]], check=False, capture_output=True)
    # a member that begins a cluster is not ready before a second one is there: that is waited for afterwards
    done = subprocess.run(
        ["systemctl", "start", "--no-block", plan["unit"]], capture_output=True, text=True, check=False
    )
    if done.returncode:
        _fail(done.stderr.strip())
    if not plan["begins"]:
        _until_started(plan)


def _initial(plan: dict[str, Any], peers: dict[str, str]) -> str:
    """What a member without data is told (etcd 3.5 manual, "Clustering Guide")."""
    return (
        f"ETCD_INITIAL_CLUSTER={','.join(f'{name}={url}' for name, url in peers.items())}\n"
        f"ETCD_INITIAL_CLUSTER_STATE={'new' if plan['begins'] else 'existing'}\n"
        f"ETCD_INITIAL_CLUSTER_TOKEN={plan['token']}\n"
    )


def _admitted(plan: dict[str, Any]) -> dict[str, str]:
    """Tell the cluster of this member, in place of what it was before. Returns the members that it must know."""
    others = [url for name, url in plan["endpoints"].items() if name != plan["name"]]
    words = [f"--endpoints={','.join(others)}"]
    members = _members(plan, words)
    mine = plan["peers"][plan["name"]]
    for member in members:
        if member.get("name") == plan["name"] or mine in member["peerURLs"]:
            if not member.get("name"):
                # an earlier run told them and was killed: this member is expected already
                return _known(members, plan)
            _ctl(plan, *words, "member", "remove", format(member["ID"], "x"))
    _ctl(plan, *words, "member", "add", plan["name"], f"--peer-urls={mine}")
    return _known(_members(plan, words), plan)


def _known(members: list[dict[str, Any]], plan: dict[str, Any]) -> dict[str, str]:
    return {member.get("name") or plan["name"]: member["peerURLs"][0] for member in members}


def _members(plan: dict[str, Any], words: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_ctl(plan, *words, "-w", "json", "member", "list"))["members"]
    return found


def _until_started(plan: dict[str, Any]) -> None:
    deadline = time.monotonic() + _JOIN_SECONDS
    own = f"--endpoints={plan['endpoints'][plan['name']]}"
    while time.monotonic() < deadline:
        if subprocess.run([plan["ctl"], own, "endpoint", "health"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.3)
    log = subprocess.run(
        ["journalctl", "-qu", plan["unit"], "-n", "5", "-o", "cat"], capture_output=True, text=True, check=False
    )
    _fail(f"the member is not well within {_JOIN_SECONDS} s:\n{log.stdout}")


def access(plan: dict[str, Any]) -> None:
    """Users and passwords as planned: `ctl`, `root` (passwords: the wanted one, then earlier ones), `users`
    (passwords by name), `prefix` (of the keys that they may use)."""
    password = _root_password(plan)
    env = {"ETCDCTL_PASSWORD": password}
    users = _ctl(plan, "user", "list", env=env).split()
    if "root" not in users:
        _ctl(plan, "user", "add", "root", "--interactive=false", env=env, stdin=plan["root"][0])
        _ctl(plan, "user", "grant-role", "root", "root", env=env)
    elif password != plan["root"][0]:
        _ctl(plan, "user", "passwd", "root", "--interactive=false", env=env, stdin=plan["root"][0])
        env = {"ETCDCTL_PASSWORD": plan["root"][0]}
    if "bastide" not in _ctl(plan, "role", "list", env=env).split():
        _ctl(plan, "role", "add", "bastide", env=env)
    _ctl(plan, "role", "grant-permission", "bastide", "--prefix=true", "readwrite", plan["prefix"], env=env)
    for name, secret in plan["users"].items():
        if name not in users:
            _ctl(plan, "user", "add", name, "--interactive=false", env=env, stdin=secret)
        _ctl(plan, "user", "grant-role", name, "bastide", env=env)
    for name in set(users) - {"root", *plan["users"]}:
        _ctl(plan, "user", "delete", name, env=env)
    _ctl(plan, "auth", "enable", env=env)


def _root_password(plan: dict[str, Any]) -> str:
    """The one that opens now; any, as long as nobody asks for one."""
    for password in plan["root"]:
        done = _run(plan, ("user", "list"), {"ETCDCTL_PASSWORD": password}, None)
        if done.returncode == 0:
            return str(password)
    _fail(f"none of root's passwords opens etcd: {done.stderr.strip()[-300:]}")


def _ctl(plan: dict[str, Any], *words: str, env: dict[str, str] | None = None, stdin: str | None = None) -> str:
    done = _run(plan, words, env or {}, stdin)
    if done.returncode:
        _fail(f"etcdctl {' '.join(words)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def _run(
    plan: dict[str, Any], words: tuple[str, ...], env: dict[str, str], stdin: str | None
) -> subprocess.CompletedProcess[str]:
    # what is set here must win over the file that `ctl` reads
    values = dict(_file_values(plan["ctl"]), **env)
    if any(word.startswith("--endpoints") for word in words):
        values.pop("ETCDCTL_ENDPOINTS")  # etcdctl refuses to be told twice
    return subprocess.run(
        ["/usr/bin/etcdctl", *words],
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **values},
    )


def _file_values(ctl: str) -> dict[str, str]:
    path = next(line.split()[1] for line in Path(ctl).read_text().splitlines() if line.startswith(". "))
    lines = (line.partition("=") for line in Path(path).read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines}


def _fail(problem: str) -> NoReturn:
    print(problem, file=sys.stderr)
    sys.exit(1)
