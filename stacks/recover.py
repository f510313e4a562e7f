"""After a killed `pulumi up`: give up its lock, and take into the state what it had already made.

The engine writes "creating X" before it asks the provider and "X is 1234" after. Killed in between, the resource may
exist while the state does not know its id; a second `up` would make it again and meet "name already used". So each
pending creation is looked up by its name at the provider: what is there is taken over, the rest is forgotten.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import hcloud

from bastide.console import run, say, step
from bastide.errors import StackError

_UPSTREAM_ENDPOINT = "https://api.hetzner.cloud/v1"


def recover(stack: str, root: Path) -> None:
    """Make the stack ready for another `pulumi up`. Silent when the last run ended by itself.

    Raises `StackError` when another run is still at work, `CommandFailed` when pulumi refuses.
    """
    _release_dead_lock(stack, root)
    pending = _pending_creations(stack, root)
    if not pending:
        return
    with step(f"taking over what a stopped `pulumi up` had begun ({len(pending)} resources)"):
        find = _finder(stack, root)
        flags: list[str] = []
        for resource in pending:
            name, found = str(resource["urn"]).rsplit("::", 1)[-1], find(resource)
            say(f"    {name}: {f'exists at the provider as {found}' if found else 'was not made'}")
            if found:
                flags += ["--import-pending-creates", str(resource["urn"]), "--import-pending-creates", found]
        flags = flags or ["--clear-pending-creates"]
        # targets: only what is pending is asked for, a refresh of everything is the operator's decision
        run(["pulumi", "refresh", "--yes", "--skip-preview", "--non-interactive", "--stack", stack, *flags], cwd=root)
    if _pending_creations(stack, root):
        run(
            [
                "pulumi",
                "refresh",
                "--yes",
                "--skip-preview",
                "--non-interactive",
                "--stack",
                stack,
                "--clear-pending-creates",
            ],
            cwd=root,
        )


def _release_dead_lock(stack: str, root: Path) -> None:
    """Cancel the lock of a run on this machine whose process is gone (file backend only)."""
    for lock in _locks(stack):
        holder = json.loads(lock.read_text(encoding="utf-8"))
        pid = int(holder.get("pid", 0))
        if holder.get("hostname") != socket.gethostname() or Path(f"/proc/{pid}").exists():
            raise StackError(
                f"another `pulumi up` holds the stack {stack} (process {pid} on {holder.get('hostname')})",
                f"wait for it, or run `pulumi cancel --stack {stack}` when you know that it is gone",
            )
        say(f"the last run on stack {stack} was stopped (process {pid}); its lock is given up")
        run(["pulumi", "cancel", "--yes", "--stack", stack], cwd=root)
        return


def _locks(stack: str) -> list[Path]:
    backend = urlparse(os.environ.get("PULUMI_BACKEND_URL", ""))
    if backend.scheme != "file":
        return []
    return sorted(Path(unquote(backend.path)).glob(f".pulumi/locks/organization/bastide/{stack}/*.json"))


def _pending_creations(stack: str, root: Path) -> list[dict[str, Any]]:
    """The resources whose creation was begun and not recorded as done."""
    done = run(["pulumi", "stack", "export", "--stack", stack], cwd=root)
    deployment = json.loads(done.stdout).get("deployment") or {}
    operations = deployment.get("pending_operations") or []
    return [operation["resource"] for operation in operations if operation.get("type") == "creating"]


def _finder(stack: str, root: Path) -> Callable[[dict[str, Any]], str]:
    """A function from a pending resource to the provider's id of it, "" when there is none."""
    done = run(["pulumi", "config", "--json", "--show-secrets", "--stack", stack], cwd=root)
    config = {key: item.get("value", "") for key, item in json.loads(done.stdout).items()}
    token = config.get("hcloud:token") or os.environ.get("HCLOUD_TOKEN", "")
    client = hcloud.Client(token=token, api_endpoint=config.get("hcloud:endpoint") or _UPSTREAM_ENDPOINT)
    collections: dict[str, Any] = {
        "Server": client.servers,
        "PrimaryIp": client.primary_ips,
        "Network": client.networks,
        "Firewall": client.firewalls,
        "SshKey": client.ssh_keys,
    }

    def find(resource: dict[str, Any]) -> str:
        kind, inputs = str(resource["type"]).rsplit(":", 1)[-1], resource.get("inputs", {})
        if kind == "NetworkSubnet":
            return next(_subnets(client, str(inputs.get("ipRange"))), "")
        collection = collections.get(kind)
        found = collection.get_by_name(inputs.get("name")) if collection else None
        return str(found.id) if found else ""

    return find


def _subnets(client: hcloud.Client, ip_range: str) -> Iterator[str]:
    """Ids of subnets with this range: "<network id>-<range>", as the provider plugin names them."""
    for network in client.networks.get_all():
        for subnet in network.subnets or []:
            if subnet.ip_range == ip_range:
                yield f"{network.id}-{ip_range}"
