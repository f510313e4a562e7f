"""Runs on a machine as root, after connections.py, in its namespace: what a member of etcd says, and answers to whom.

It reads; the one writing request is a transaction whose condition never holds, so that it asks for the right alone.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.connections import (
        client,
        fetched,
        https,
        key_files,
        listening,
        old_client,
        output,
        reach_as,
        trusted,
    )

_HTTP = "GET /version HTTP/1.0\r\nHost: member\r\n\r\n"
# answered by a quorum alone (etcd 3.5 manual, "Monitoring")
_HEALTH = "GET /health HTTP/1.0\r\nHost: member\r\n\r\n"
# its path in etcd's data folder (etcd 3.5 manual, "Data directory")
_FILE = "/member/snap/db"


def member(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: name, address, endpoints (URLs by name), client_port, peer_port, root_only, ctl, folder, snapshots,
    lead (the unit that gives the leadership away), patroni (its configuration), site (whether it carries databases),
    asks_users, prefix, shared (the key of what all databases share), accounts (numbers without a right). Without a name
    only who gets through, and whether a member runs all the same."""
    # before there are threads: each is tried in a process of its own
    accounts = {number: reach_as(number, plan["root_only"]) for number in (0, *plan["accounts"])}
    if not plan["name"]:
        return {"listening": listening(("etcd",)), "accounts": accounts}
    own = plan["endpoints"][plan["name"]]
    with ThreadPoolExecutor(8) as pool:
        # each asks for root's password, whose digest is made to take long (bcrypt): as few as will do
        status = pool.submit(_status, plan)
        tries = pool.submit(_tries, plan, own)
        return {
            "status": status.result(),
            "members": _members(plan),
            "well": https(plan["address"], plan["client_port"], _own(plan, "ca", "server"), _HEALTH),
            # with all that lies on this machine
            "administers": output(plan["ctl"], "user", "list").strip(),
            "tries": tries.result(),
            "listening": listening(("etcd",)),
            "accounts": accounts,
            "keys": key_files(plan["folder"]),
            "trusts": _trusts(plan),
            "folder": sorted(path.name for path in Path(plan["folder"]).glob("*")),
            "mover": _mover(plan["lead"]),
            "data": _data(),
            "snapshot": _snapshot(Path(plan["snapshots"])),
            # all members would say the same
            "users": _users(plan) if plan["asks_users"] else {},
            "patroni": _patroni(plan),
        }


def _members(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Whom this member counts, as it tells other members, who need no password: ID, name, isLearner."""
    text = fetched(plan["address"], plan["peer_port"], _own(plan, "peer-ca", "peer"), "/members")
    return [{**one, "ID": one["id"]} for one in _json(text) or []]


def _own(plan: dict[str, Any], authority: str, name: str) -> Any:
    """A client with a certificate of this machine."""
    folder = plan["folder"]
    return client(f"{folder}/{authority}.crt", (f"{folder}/{name}.crt", f"{folder}/{name}.key"))


def _status(plan: dict[str, Any]) -> dict[str, Any]:
    """What each member says of itself; nothing of one that does not answer. It takes a password, which lies only where
    databases are."""
    if not plan["site"]:
        return {}
    names = {url: name for name, url in plan["endpoints"].items()}
    # longer than etcdctl itself waits for one that is silent
    text = output(plan["ctl"], "-w", "json", "endpoint", "status")
    # after what it says of those who are silent, with its exit code before
    told = _json(text[text.find("[{") :].splitlines()[0] if "[{" in text else "")
    found: dict[str, Any] = {name: {} for name in plan["endpoints"]}
    return found | {names[one["Endpoint"]]: one["Status"] for one in told}


def _tries(plan: dict[str, Any], own: str) -> dict[str, Any]:
    """What whoever has less than all of it gets."""
    folder, address, port = plan["folder"], plan["address"], plan["client_port"]
    pair = (f"{folder}/server.crt", f"{folder}/server.key")
    bare = client(f"{folder}/ca.crt")
    words: tuple[str, ...] = ("/usr/bin/etcdctl", f"--endpoints={own}", "--dial-timeout=3s", "--command-timeout=15s")
    words += (f"--cacert={folder}/ca.crt", f"--cert={pair[0]}", f"--key={pair[1]}")
    plain = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"}
    wrong = {**plain, "ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": "wrong"}
    get = ("get", "--keys-only", "--limit=1", "--prefix", "/")
    return {
        "certificate": https(address, port, client(f"{folder}/ca.crt", pair), _HTTP),
        "no TLS": https(address, port, None, _HTTP),
        "TLS 1.1": https(address, port, old_client(), _HTTP),
        "no certificate": https(address, port, bare, _HTTP),
        "no certificate, as a voter": https(address, plan["peer_port"], client(f"{folder}/peer-ca.crt"), _HTTP),
        "a voter's certificate, as a voter": https(address, plan["peer_port"], _own(plan, "peer-ca", "peer"), _HTTP),
        "a client's certificate, as a voter": https(address, plan["peer_port"], _own(plan, "peer-ca", "server"), _HTTP),
        "a voter's certificate, as a client": https(address, port, _own(plan, "ca", "peer"), _HTTP),
        "no password": output(*words, *get, env=plain).strip(),
        "wrong password": output(*words, *get, env=wrong).strip(),
    }


def _trusts(plan: dict[str, Any]) -> dict[str, str]:
    """What the running member trusts: of clients and of other members, by the file that it was started with."""
    pid = output("systemctl", "show", "--value", "-p", "MainPID", "etcd.service").strip()
    try:
        told = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    env = dict(word.split("=", 1) for word in told if "=" in word)
    names = {"etcd": "ETCD_TRUSTED_CA_FILE", "etcd-peers": "ETCD_PEER_TRUSTED_CA_FILE"}
    return {purpose: trusted(env.get(name, "")) for purpose, name in names.items()}


def _mover(lead: str) -> dict[str, str]:
    def show(unit: str, name: str) -> str:
        return output("systemctl", "show", "--value", "-p", name, f"{lead}.{unit}").strip()

    return {"timer": show("timer", "ActiveState"), "result": show("service", "Result")}


def _data() -> dict[str, Any]:
    """Where the running server writes, and what else lies on the same file system."""
    pid = output("systemctl", "show", "--value", "-p", "MainPID", "etcd.service").strip()
    for one in Path(f"/proc/{pid}/fd").glob("*") if pid not in ("", "0") else ():
        if str(file := one.resolve()).endswith(_FILE):
            own = _device(file)
            others = [path for path in map(Path, ("/", "/var", "/var/lib/postgresql")) if path.exists()]
            shared = [str(path) for path in others if _device(path) == own]
            return {"file": str(file), "with": shared, **({} if shared else _sizes(own))}
    return {}


def _sizes(device: str) -> dict[str, int]:
    """Of a device, and of the ext4 file system that lies on it, in bytes."""
    if not Path(device).is_block_device():
        return {}
    with open(device, "rb") as disk:  # noqa: PTH123
        whole = disk.seek(0, os.SEEK_END)
        disk.seek(1024)
        # linux: Documentation/filesystems/ext4/super.rst: blocks (low half), their size, the magic, blocks (high half)
        low, size, magic, high = struct.unpack_from("<4xI16xI28xH278xI", disk.read(1024))
    return {"device": whole, "used": (high << 32 | low) << (10 + size) if magic == 0xEF53 else whole}


def _device(path: Path) -> str:
    """What its file system lies on; in brackets a part of one that is shown elsewhere as well (findmnt(8))."""
    return output("findmnt", "-no", "SOURCE", "-T", str(path)).strip().partition("[")[0]


def _snapshot(folder: Path) -> dict[str, Any]:
    ages = {path: time.time() - path.stat().st_mtime for path in folder.glob("snapshot-*.db")}
    if not ages:
        return {}
    youngest = min(ages, key=lambda path: ages[path])
    told = _json(output("/usr/bin/etcdutl", "-w", "json", "snapshot", "status", str(youngest)))
    return {"age": ages[youngest], "oldest": max(ages.values()), "keys": told.get("totalKey", 0) if told else 0}


def _users(plan: dict[str, Any]) -> dict[str, Any]:
    ctl = plan["ctl"]
    users = output(ctl, "user", "list").split()
    roles = {one: _json(output(ctl, "-w", "json", "user", "get", one)).get("roles") or [] for one in users}
    rights = {}
    for role in sorted({one for listed in roles.values() for one in listed} | set(output(ctl, "role", "list").split())):
        told = _json(output(ctl, "-w", "json", "role", "get", role)).get("perm") or []
        rights[role] = sorted(f"{p.get('permType', 0)} {p.get('key', '')} {p.get('range_end', '')}" for p in told)
    return {"users": roles, "rights": rights}


def _patroni(plan: dict[str, Any]) -> dict[str, str]:
    """What Patroni gets from etcd with its own password: its keys, and those of others; nothing where there is none."""
    file = Path(plan["patroni"])
    if not file.exists():
        return {}
    import yaml  # Patroni brings it along

    config = yaml.safe_load(file.read_text(encoding="utf-8"))["etcd3"]
    words = ["/usr/bin/etcdctl", f"--endpoints={plan['endpoints'][plan['name']]}", "--command-timeout=15s"]
    words += [f"--cacert={config['cacert']}", f"--cert={config['cert']}", f"--key={config['key']}"]
    env = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3", "ETCDCTL_USER": config["username"]}
    env["ETCDCTL_PASSWORD"] = config["password"]
    # compares, then requests on success, then on failure: a key that is not there has no revision (etcdctl's manual)
    never = 'mod("/elsewhere/x") > "0"\n\nput /elsewhere/x y\n\n\n'
    return {
        "own": output(*words, "get", "--keys-only", "--limit=1", "--prefix", plan["prefix"], env=env).strip(),
        "shared": output(*words, "get", "--print-value-only", plan["shared"], env=env).strip(),
        "read": output(*words, "get", "--keys-only", "--limit=1", "--prefix", "/", env=env).strip(),
        "write": output(*words, "txn", env=env, input_=never).strip(),
        "users": output(*words, "user", "list", env=env).strip(),
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


if __name__ == "__main__":
    print(json.dumps(member(json.loads(sys.argv[1]) | {"accounts": [int(one) for one in sys.argv[2:]]})))
