"""Runs on the machine as root: brings a member into its cluster or out of it, and makes its users.

Standard library only, since it is sent to the machine as it stands here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from deploys.remote.etcdctl import as_root, ctl, fail, root_password, run

_JOIN_SECONDS = 60
_SETTLE_SECONDS = 20


def join(plan: dict[str, Any]) -> None:
    """Start the member, unless it runs; one without data first learns which cluster it belongs to.

    Data are taken away in two cases. They are of a cluster that never came together (`forming`), none is there, and the
    members are others now; etcd's unit takes the mark away when the member has heard a quorum, as root. Or they are of
    a membership that has ended: the others' cluster answers, and does not count this member (on a volume that outlived
    its server, whose vote was given to another one meanwhile).

    `plan`: name, peers and endpoints (URLs by name), begins (whether there is no cluster yet), dismisses (whether those
    who are no peers lose their vote), token, data, env and forming (paths), ctl (etcdctl for root), health (a shell
    command: whether it is in), unit, root (passwords: the wanted one, then earlier ones).
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
        fail(stopped.stderr.strip())
    if data.exists() and (anew or (not plan["begins"] and _has_left(plan))):
        shutil.rmtree(data)
    if not (data / "member").is_dir():
        if plan["begins"]:
            forming.touch()
            _tell(plan, plan["peers"])
        else:
            forming.unlink(missing_ok=True)
            if not _is_awaited(plan, told):
                _admit(plan)
    subprocess.run(["systemctl", "reset-failed", plan["unit"]], check=False, capture_output=True)
    # a member that begins a cluster is not ready before a second one is there: that is waited for afterwards
    done = subprocess.run(
        ["systemctl", "start", "--no-block", plan["unit"]], capture_output=True, text=True, check=False
    )
    if done.returncode:
        fail(done.stderr.strip())
    if not plan["begins"]:
        _until_started(plan)


def _tell(plan: dict[str, Any], peers: dict[str, str]) -> None:
    """Write down what the member is told when it starts without data."""
    env = Path(plan["env"])
    fresh = env.with_name(f".{env.name}")
    fresh.write_text(_initial(plan, peers))
    fresh.replace(env)


def _is_awaited(plan: dict[str, Any], told: str) -> bool:
    """Whether a run that was killed has announced this member to a cluster that cannot answer without it: one that had
    a single member has no quorum from the announcement until the second one runs."""
    known = "STATE=existing\n" in told and f"{plan['name']}={plan['peers'][plan['name']]}" in told
    return known and not as_root(plan, _at_others(plan), "member", "list")[0]


def _initial(plan: dict[str, Any], peers: dict[str, str]) -> str:
    """What a member without data is told (etcd 3.5 manual, "Clustering Guide")."""
    return (
        f"ETCD_INITIAL_CLUSTER={','.join(f'{name}={url}' for name, url in peers.items())}\n"
        f"ETCD_INITIAL_CLUSTER_STATE={'new' if plan['begins'] else 'existing'}\n"
        f"ETCD_INITIAL_CLUSTER_TOKEN={plan['token']}\n"
    )


def _has_left(plan: dict[str, Any]) -> bool:
    """Whether the others have a quorum and do not count this member. They may be down: then nobody knows."""
    password, done = as_root(plan, _at_others(plan), "-w", "json", "member", "list")
    return bool(password) and not any(_is_mine(member, plan) for member in json.loads(done.stdout)["members"])


def _at_others(plan: dict[str, Any]) -> str:
    """etcdctl's word for who is asked about a member that does not run itself."""
    return f"--endpoints={','.join(url for name, url in plan['endpoints'].items() if name != plan['name'])}"


def _is_mine(member: dict[str, Any], plan: dict[str, Any]) -> bool:
    return member.get("name") == plan["name"] or plan["peers"][plan["name"]] in member["peerURLs"]


def _admit(plan: dict[str, Any]) -> None:
    """Tell the cluster of this member, in place of what it was before, and the member of the others.

    The member is told first: a cluster of one answers nothing more once it counts a second one, until that runs.
    """
    members = _Members(plan, _at_others(plan))
    there = members.there()
    for member in there:
        if _is_mine(member, plan):
            if not member.get("name"):
                # an earlier run told them and was killed: this member is expected already
                _tell(plan, _known(there, plan))
                return
            members.remove(member)
    # one that is gone for good and has no vote any more goes first: etcd takes nobody in while somebody does not answer
    if plan["dismisses"]:
        members.dismiss()
    elif foreign := members.foreign():
        names = ", ".join(member.get("name") or member["peerURLs"][0] for member in foreign)
        fail(f"the members count {names} still; next: `make deploy` for all machines")
    own = plan["peers"][plan["name"]]
    _tell(plan, {**_known(members.there(), plan), plan["name"]: own})
    members.change("add", plan["name"], f"--peer-urls={own}")


def dismiss(plan: dict[str, Any]) -> None:
    """Take out of the cluster whoever is not among the planned members; etcd refuses what would cost it its quorum
    (etcd 3.5 manual, "Design of runtime reconfiguration"). `plan`: as `join` has it."""
    _Members(plan).dismiss()


class _Members:
    """The cluster's list of members, as root."""

    def __init__(self, plan: dict[str, Any], *words: str) -> None:
        self.plan = plan
        self.words = words
        self.env = {"ETCDCTL_PASSWORD": root_password(plan, *words)}

    def there(self) -> list[dict[str, Any]]:
        """All of them, as etcdctl prints them: ID, peerURLs, and name, once they have started."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        # whoever was just dismissed may have led: for a moment nobody does
        while True:
            done = run(self.plan, (*self.words, "-w", "json", "member", "list"), self.env, None)
            if done.returncode == 0:
                found: list[dict[str, Any]] = json.loads(done.stdout)["members"]
                return found
            if "leader" not in done.stderr or time.monotonic() > deadline:
                fail(f"etcdctl member list: {done.stderr.strip()[-500:]}")
            time.sleep(0.5)

    def dismiss(self) -> None:
        """Remove all that are not planned. While one of them is gone etcd lets go of no other one that answers, since
        too few would be left: who can go goes first."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while foreign := self.foreign():
            problems = [self.refused("remove", format(member["ID"], "x")) for member in foreign]
            if "" in problems:
                deadline = time.monotonic() + _SETTLE_SECONDS
            elif time.monotonic() > deadline:
                fail(problems[0])
            else:
                time.sleep(0.5)

    def foreign(self) -> list[dict[str, Any]]:
        """Those that are not planned. One that was announced and never started has no name yet."""
        peers = self.plan["peers"]
        return [
            one
            for one in self.there()
            if not (one["name"] in peers if one.get("name") else set(one["peerURLs"]) & set(peers.values()))
        ]

    def remove(self, member: dict[str, Any]) -> None:
        """Take one out."""
        self.change("remove", format(member["ID"], "x"))

    def change(self, *words: str) -> None:
        """One change of the list. etcd refuses it until all members have heard each other for 5 s (HealthInterval in
        server/etcdserver/server.go): after another change that is waited for."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while problem := self.refused(*words):
            if time.monotonic() > deadline:
                fail(problem)
            time.sleep(0.5)

    def refused(self, *words: str) -> str:
        """Try one change; why it cannot be now, "" when it is done."""
        done = run(self.plan, (*self.words, "member", *words), self.env, None)
        if done.returncode == 0:
            return ""
        problem = f"etcdctl member {' '.join(words)}: {done.stderr.strip()[-500:]}"
        if not any(word in done.stderr for word in ("unhealthy cluster", "not enough started members")):
            fail(problem)
        return problem


def leave(plan: dict[str, Any]) -> None:
    """Stop a member that its cluster does not count any more, and take away what it kept and what it came in with.

    `plan`: units, and the paths that go, in this order. The last one tells the next run that something is left.
    """
    for unit in plan["units"]:
        if _load_state(unit) != "not-found":
            done = subprocess.run(
                ["systemctl", "disable", "-q", "--now", unit], capture_output=True, text=True, check=False
            )
            if done.returncode:
                fail(done.stderr.strip())
            subprocess.run(["systemctl", "reset-failed", unit], check=False, capture_output=True)
    for path in map(Path, plan["gone"]):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    subprocess.run(["systemctl", "daemon-reload"], check=True)


def _load_state(unit: str) -> str:
    shown = subprocess.run(["systemctl", "show", "-P", "LoadState", unit], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


def _known(members: list[dict[str, Any]], plan: dict[str, Any]) -> dict[str, str]:
    return {member.get("name") or plan["name"]: member["peerURLs"][0] for member in members}


def _until_started(plan: dict[str, Any]) -> None:
    deadline = time.monotonic() + _JOIN_SECONDS
    while time.monotonic() < deadline:
        if subprocess.run(["sh", "-c", plan["health"]], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.3)
    log = subprocess.run(
        ["journalctl", "-qu", plan["unit"], "-n", "5", "-o", "cat"], capture_output=True, text=True, check=False
    )
    fail(f"the member is not well within {_JOIN_SECONDS} s:\n{log.stdout}")


def access(plan: dict[str, Any]) -> None:
    """Users and passwords as planned: `ctl`, `root` (passwords: the wanted one, then earlier ones), `users`
    (passwords by name), `prefix` (of the keys that they may use)."""
    password = root_password(plan)
    env = {"ETCDCTL_PASSWORD": password}
    users = ctl(plan, "user", "list", env=env).split()
    if "root" not in users:
        ctl(plan, "user", "add", "root", "--interactive=false", env=env, stdin=plan["root"][0])
        ctl(plan, "user", "grant-role", "root", "root", env=env)
    elif password != plan["root"][0]:
        ctl(plan, "user", "passwd", "root", "--interactive=false", env=env, stdin=plan["root"][0])
        env = {"ETCDCTL_PASSWORD": plan["root"][0]}
    if "bastide" not in ctl(plan, "role", "list", env=env).split():
        ctl(plan, "role", "add", "bastide", env=env)
    ctl(plan, "role", "grant-permission", "bastide", "--prefix=true", "readwrite", plan["prefix"], env=env)
    for name, secret in plan["users"].items():
        if name not in users:
            ctl(plan, "user", "add", name, "--interactive=false", env=env, stdin=secret)
        ctl(plan, "user", "grant-role", name, "bastide", env=env)
    for name in set(users) - {"root", *plan["users"]}:
        ctl(plan, "user", "delete", name, env=env)
    ctl(plan, "auth", "enable", env=env)
