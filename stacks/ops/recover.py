"""Before a `pulumi up`: make good what a stopped or failed run, or a person at the console, has left behind.

- The engine writes "creating X" before it asks the provider and "X is 1234" after. Killed in between, the resource may
  exist while the state does not know its id; a second `up` would make it again and meet "name already used". So each
  pending creation is looked up by its name at the provider: what is there is taken over, the rest is forgotten.
- `pulumi up` asks the provider nothing when nothing changed: a server that vanished, is off, or never got its private
  address is seen by asking for all servers once.
- What is protected and no longer in the stack file is refused before anything is deleted (`protected.py`).
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import hcloud
import requests

from bastide.console import run, say, step
from bastide.errors import StackError
from bastide.provider import state_locks
from bastide.provider_api import provider_api
from bastide.pulumi_config import StackConfig, open_config
from bastide.settings import Settings
from bastide.stackfile import read, stack_path
from stacks.ops.lookup import IN_ZONES_PROJECT, Resource, find_resource, kind_of
from stacks.ops.pending_bucket import find_bucket
from stacks.ops.protected import protected_names, refuse_lost

# what is made at the provider and at its object storage
_MADE = ("hcloud:", "minio:")


def recover(stack: str, root: Path) -> None:
    """Make the stack ready for another `pulumi up`. Silent when there is nothing to mend.

    Raises `StackError` when another run is still at work, or when the provider refuses or does not answer (nothing is
    lost then, and the next call goes on); `CommandFailed` when pulumi refuses.
    """
    _release_dead_lock(stack, root)
    deployment = _deployment(stack, root)
    if protected := protected_names(deployment):
        refuse_lost(protected, read(stack_path(stack, root)))
    begun = _at_provider(deployment)
    # where all servers are somebody else's, and there is nothing besides, there is nobody to ask
    if not begun and not (settings := read(stack_path(stack, root))).made:
        return
    try:
        config = open_config(stack, root)
        client = provider_api(config.access())
        if not begun:
            _refuse_lost_state(client, settings)
            return
        _refuse_other_project(client, deployment)
        if _pending_creations(deployment):
            _take_over(config, root, client, deployment)
            deployment = _deployment(stack, root)
        if unread := _unread(deployment):
            _refresh(stack, root, unread)
            deployment = _deployment(stack, root)
        # first: that of a server that is gone cannot stay in the state without it
        _mend_attachments(stack, root, client, _attachments(deployment))
        _mend_servers(stack, root, client, _servers(deployment))
    except (hcloud.HCloudException, requests.RequestException) as error:
        raise StackError(
            f"the provider could not be asked what exists: {error}",
            "is hcloud:token the right one, and does hcloud:endpoint answer? Then run the same command again",
        ) from None


def _take_over(config: StackConfig, root: Path, client: hcloud.Client, deployment: dict[str, Any]) -> None:
    """Write what exists into the state by its id; what else is to be known of it is read afterwards (`_unread`).

    `pulumi refresh --import-pending-creates` is meant for this, and forgets them (3.259.0 with a file backend, tried).
    """
    pending = _pending_creations(deployment)
    with step(f"taking over what a stopped `pulumi up` had begun ({len(pending)} resources)"):
        # zones may live in a project of their own, behind a token of their own
        zones = any(kind_of(item) in IN_ZONES_PROJECT for item in pending)
        names = provider_api(config.access(dns=True)) if zones else client
        for resource in pending:
            bucket = find_bucket(config, root, resource)
            found = bucket or find_resource(names if kind_of(resource) in IN_ZONES_PROJECT else client, resource)
            say(f"    {_short(resource)}: {f'exists at the provider as {found}' if found else 'was not made'}")
            if found:
                _put_into_state(deployment["resources"], resource, found)
        deployment["pending_operations"] = []
        # the state's text goes through standard input: secrets in it are encrypted, and need not lie in a file as well
        text = json.dumps({"version": 3, "deployment": deployment})
        run(["pulumi", "stack", "import", "--stack", config.stack], cwd=root, input=text)


def _put_into_state(resources: list[Resource], resource: Resource, found: str) -> None:
    """Put a resource that was half created among those of the state, unless it is there already.

    While a resource is replaced, its predecessor stays in the state under the same URN: with `pendingReplacement` once
    it is deleted at the provider, else with its own id, which is then what was found.
    """
    same = [item for item in resources if item["urn"] == resource["urn"] and not item.get("delete")]
    if any(item.get("id") == found for item in same):
        return
    for item in same:
        resources.remove(item)
    outputs = dict(resource.get("inputs", {}))
    if kind_of(resource) in IN_ZONES_PROJECT:
        outputs["id"] = found
    resources.append({**resource, "id": found, "outputs": outputs})


def _unread(deployment: dict[str, Any]) -> list[Resource]:
    """What was adopted and not read yet, perhaps by a run that was stopped in between: an output is still missing."""
    return [
        item
        for item in deployment.get("resources") or []
        if item.get("custom")
        and str(item["type"]).startswith(_MADE)
        and IN_ZONES_PROJECT.get(kind_of(item), "id") not in (item.get("outputs") or {})
    ]


def _refuse_lost_state(client: hcloud.Client, settings: Settings) -> None:
    """Raise `StackError` when servers of these names exist that an empty state knows nothing of."""
    names = sorted({str(server.name) for server in client.servers.get_all()} & set(settings.made))
    if not names:
        return
    what = f"{', '.join(names)}: made already, and the state of this stack knows nothing of it"
    if settings.lab:
        # a clone that was deleted while its local cloud was up, and made anew in the same place
        raise StackError(f"{what}: they are of an earlier checkout", "`make down`, then the same command again")
    raise StackError(
        what, "bring the state back (docs/how-to/state-in-a-bucket.md), or take them over: docs/how-to/import.md"
    )


def _refuse_other_project(client: hcloud.Client, deployment: dict[str, Any]) -> None:
    """Raise `StackError` when nothing of the stack exists: a token of another project would make all of it anew."""
    ids = [str(item["id"]) for item in deployment["resources"] if item["type"] == "hcloud:index/network:Network"]
    servers = {str(item.get("id")) for item in _servers(deployment)}
    if not ids or not servers or {str(network.id) for network in client.networks.get_all()} & set(ids):
        return
    if not servers & {str(server.id) for server in client.servers.get_all()}:
        raise StackError(
            "neither the network nor any server of this stack exists in the project that hcloud:token opens",
            "set the token of the right project; if all of it was really deleted there, run `pulumi refresh` first",
        )


def _mend_servers(stack: str, root: Path, client: hcloud.Client, servers: list[Resource]) -> None:
    """Switch on what is off; read again what is not as the state says, so that the next `up` sees the difference."""
    if not servers:
        return  # a stack of zones or buckets alone has no token that could be asked
    real = {str(server.id): server for server in client.servers.get_all()}
    outdated: list[Resource] = []
    for resource in servers:
        name, server = _short(resource), real.get(str(resource.get("id")))
        wanted = {network.get("ip") for network in resource["inputs"].get("networks", [])}
        if server is None:
            say(f"{name} is gone from the provider; it is made again")
            outdated.append(resource)
            continue
        if server.status == "off":
            with step(f"{name} is off; switching it on"):
                client.servers.power_on(server).wait_until_finished()
        if wanted - {attached.ip for attached in server.private_net or []}:
            say(f"{name} has not got its private address; it is given")
            outdated.append(resource)
    if outdated:
        with step("reading those servers again"):
            _refresh(stack, root, outdated)


def _mend_attachments(stack: str, root: Path, client: hcloud.Client, attachments: list[Resource]) -> None:
    """Read again what is not attached as the state says: a person detached it, or its server is gone."""
    if not attachments:
        return
    real = {str(volume.id): str(volume.server.id) if volume.server else "" for volume in client.volumes.get_all()}
    outdated = [
        item for item in attachments if real.get(str(item.get("id"))) != str(int(item["inputs"].get("serverId") or 0))
    ]
    if outdated:
        names = ", ".join(_short(item) for item in outdated)
        with step(f"{names}: not attached to its server; it is attached again"):
            _refresh(stack, root, outdated)


def _refresh(stack: str, root: Path, resources: list[Resource]) -> None:
    """Have the engine read these resources at the provider, and no others."""
    targets = [word for resource in resources for word in ("--target", str(resource["urn"]))]
    run(["pulumi", "refresh", "--yes", "--skip-preview", "--non-interactive", "--stack", stack, *targets], cwd=root)


def _release_dead_lock(stack: str, root: Path) -> None:
    """Cancel the lock of a run on this machine whose process is gone (file backend only)."""
    dead: list[int] = []
    for lock in state_locks(stack) or []:
        try:
            holder = json.loads(lock.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # given back just now
        except ValueError:
            holder = {}  # killed, or at work, while it was written
        pid = int(holder.get("pid", 0))
        if holder.get("hostname") != socket.gethostname() or Path(f"/proc/{pid}").exists():
            raise StackError(
                f"another `pulumi up` holds the stack {stack} (process {pid} on {holder.get('hostname')})",
                f"wait for it, or run `pulumi cancel --stack {stack}` when you know that it is gone",
            )
        dead.append(pid)
    if dead:
        say(f"the last run on stack {stack} was stopped (process {dead[0]}); its lock is given up")
        # gives up all locks of the stack, which is why all of them have been looked at
        run(["pulumi", "cancel", "--yes", "--stack", stack], cwd=root)


def _deployment(stack: str, root: Path) -> dict[str, Any]:
    done = run(["pulumi", "stack", "export", "--stack", stack], cwd=root)
    return json.loads(done.stdout).get("deployment") or {}


def _at_provider(deployment: dict[str, Any]) -> bool:
    """Whether anything of the stack was made, or begun, at the provider or its object storage."""
    known = [*(deployment.get("resources") or []), *_pending_creations(deployment)]
    return any(str(item["type"]).startswith(_MADE) for item in known)


def _pending_creations(deployment: dict[str, Any]) -> list[Resource]:
    """The resources whose creation was begun and not recorded as done."""
    operations = deployment.get("pending_operations") or []
    return [operation["resource"] for operation in operations if operation.get("type") == "creating"]


def _servers(deployment: dict[str, Any]) -> list[Resource]:
    return [item for item in deployment.get("resources") or [] if item["type"] == "hcloud:index/server:Server"]


def _attachments(deployment: dict[str, Any]) -> list[Resource]:
    found = deployment.get("resources") or []
    return [item for item in found if item["type"] == "hcloud:index/volumeAttachment:VolumeAttachment"]


def _short(resource: Resource) -> str:
    return str(resource["urn"]).rsplit("::", 1)[-1]
