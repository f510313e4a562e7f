"""What needs somebody's attention leaves by mail and webhook, sent by another machine than the one that failed.

Each machine shows the others what is wrong with it, in the mesh; the first in a fixed order that can tells people
(docs/decisions/0026-alerts.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pyinfra.api.deploy import deploy

from bastide import patroni
from bastide.cluster import cluster_of
from bastide.errors import StackError
from bastide.layout import etcd, postgres
from bastide.layout.alerts import (
    ACCOUNT,
    CLUSTER_PATH,
    CLUSTER_SOCKET,
    CLUSTER_UNIT,
    CONFIG,
    FOLDER,
    MEMORY,
    PORT,
    PROGRAM,
    TEST_UNIT,
    UNIT,
)
from bastide.layout.sandbox import ALERTS, PINGS
from bastide.secrets import AlertSecrets
from bastide.settings import Alerts
from deploys.facts.fact import FactRequest, merged
from deploys.facts.units import UNITS
from deploys.here import Here
from deploys.operations.files import File, files, files_request
from deploys.operations.packages import packages, packages_request
from deploys.operations.units import unit
from deploys.postgres.patroni import rest_url
from deploys.render import render
from deploys.sandboxed import unit_file

PACKAGES = ("ca-certificates", "curl", "iputils-ping", "openssl")
_MODULES = ("__init__", "channels", "cluster", "findings", "messages", "peers", "telling", "watch", "ways")
_TRUSTED = f"{FOLDER}/trusted.crt"
_SECRETS = ("mail_password", "webhook_url", "heartbeat_url")
# what ends if nobody deploys for long; each is there where its capability is
_CERTIFICATES = tuple(f"{folder}/server.crt" for folder in (etcd.FOLDER, postgres.FOLDER))

_SYSUSERS = f"/etc/sysusers.d/{ACCOUNT}.conf"

_UNITS = "/etc/systemd/system"
_SETTLE = f"""\
systemctl daemon-reload
if [ -e {_UNITS}/{CLUSTER_SOCKET} ]; then
    systemd-sysusers {_SYSUSERS} && systemctl -q enable {CLUSTER_SOCKET} && systemctl restart {CLUSTER_SOCKET} || exit 1
else
    systemctl stop {CLUSTER_SOCKET} 2>/dev/null; rm -f {_UNITS}/sockets.target.wants/{CLUSTER_SOCKET}
fi
if [ -e {CONFIG} ]; then
    systemd-sysusers {_SYSUSERS} && systemctl -q enable {UNIT} && systemctl restart {UNIT} ||
        {{ journalctl -qu {UNIT} -n 5 -o cat >&2; exit 1; }}
else
    systemctl -q disable --now {UNIT} 2>/dev/null; systemctl reset-failed {UNIT} 2>/dev/null
    ! getent passwd {ACCOUNT} >/dev/null || userdel {ACCOUNT} || exit 1
    rm -rf {PROGRAM} {FOLDER} {PurePosixPath(MEMORY).parent} /etc/systemd/system/multi-user.target.wants/{UNIT}
fi
"""


@dataclass(frozen=True)
class Wanted:
    """What the program must know, and the secrets by name of their files. `config` None: there shall be no alerts.

    `patroni`: the URL of this site's Patroni; "" on a machine that carries no databases.
    """

    config: dict[str, Any] | None
    secrets: AlertSecrets
    certificate: str = ""
    patroni: str = ""

    def to_json(self) -> dict[str, Any]:
        """What pyinfra may print of it."""
        return {"config": self.config}


@deploy("alerts")
def alerts(wanted: Wanted) -> None:
    """The program with what it must know, as a unit that systemd watches."""
    packages(name="packages", names=PACKAGES if wanted.config else ())
    watched = UNIT if wanted.config else ""
    files(name="who tells, and how", name_="alerts", wanted=program_files(wanted), settle=_SETTLE, unit=watched)
    if wanted.config:
        unit(name="it runs", name_=UNIT, state="running")
    if wanted.patroni:
        unit(name="it is told how the cluster is", name_=CLUSTER_SOCKET, state="running")


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack: in one without alerts, that nothing is left of them.

    Raises `StackError` when a declared way has no secret, or the certificate cannot be read.
    """
    settings = here.settings.alerts
    if settings is None:
        return Wanted(None, AlertSecrets())
    _all_there(settings, here.alert_secrets)
    mesh = here.settings.mesh
    peers = {one.name: mesh[one.name] if mesh else one.address_for(here.machine) for one in here.others}
    mail, database = settings.mail, here.settings.postgres
    site = database is not None and here.machine.name in here.settings.sites
    config = {
        "stack": here.stack,
        "name": here.machine.name,
        # what takes risks first tells first: the witness, which carries nothing
        "order": here.settings.one_at_a_time,
        "peers": peers,
        "address": mesh.get(here.machine.name, ""),
        "port": PORT if mesh and peers else None,
        "mail": mail.model_dump(mode="json") if mail else None,
        "webhook": settings.webhook,
        "heartbeat_minutes": settings.heartbeat.every_minutes if settings.heartbeat else None,
        "certificate": _TRUSTED if settings.certificate else "",
        "repeat_hours": settings.repeat_hours,
        "silent_minutes": settings.silent_minutes,
        "disk_percent": settings.disk_percent,
        "certificates": list(_CERTIFICATES),
        "cluster": {
            "sites": list(here.settings.sites),
            "socket": CLUSTER_PATH if site else "",
            "most_behind_mb": database.max_failover_lag_mb,
        }
        if database
        else None,
    }
    certificate = _certificate(settings.certificate) if settings.certificate else ""
    patroni = rest_url(cluster_of(here.settings, here.machine, here.stack)) if site else ""
    return Wanted(config, here.alert_secrets, certificate, patroni)


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    needed = packages_request(PACKAGES) if wanted.config else {}
    units = [UNIT, CLUSTER_SOCKET] if wanted.patroni else [UNIT]
    return merged(needed, files_request(program_files(wanted)), UNITS.request(units))


def program_files(wanted: Wanted) -> tuple[File, ...]:
    """The program, its two units, what it must know, and the secrets for root alone."""
    there = wanted.config is not None
    secrets = [name for name in _SECRETS if getattr(wanted.secrets, name).get_secret_value() and _used(wanted, name)]
    texts: dict[str, str] = {f"{PROGRAM}/bastide_alerts/{name}.py": _source(name) for name in _MODULES}
    texts[f"{PROGRAM}/__main__.py"] = _source("start")
    # read once for everybody, and sent as it stands
    texts[f"{PROGRAM}/bastide/__init__.py"] = '"""What the program shares with the rest of the project."""\n'
    texts[f"{PROGRAM}/bastide/patroni.py"] = Path(patroni.__file__).read_text(encoding="utf-8")
    pings = bool(wanted.config and wanted.config["peers"] and not wanted.config["port"])
    may = PINGS if pings else ALERTS
    found = list[File]()
    for name, word, sandbox in ((UNIT, "watch", may), (TEST_UNIT, "test", replace(may, writes=()))):
        values = {"program": PROGRAM, "account": ACCOUNT, "folder": FOLDER, "word": word, "secrets": secrets}
        unit = unit_file(
            replace(sandbox, unit=name), render("alerts/bastide-alerts.service.j2", sandbox=sandbox, **values)
        )
        found.append(unit if there else File(unit.path, None))
    # sysusers.d(5): locked, without a home and a shell
    texts[_SYSUSERS] = f'u! {ACCOUNT} - "Tells people what needs attention" /\n'
    texts[CONFIG] = json.dumps(wanted.config, indent=1) + "\n"
    found += [File(path, content if there else None) for path, content in texts.items()]
    for name in (CLUSTER_SOCKET, CLUSTER_UNIT):
        values = {"account": ACCOUNT, "path": CLUSTER_PATH, "url": wanted.patroni, "ca": f"{postgres.FOLDER}/ca.crt"}
        text = render(f"alerts/{name}.j2", **values) if wanted.patroni else None
        found.append(File(f"{_UNITS}/{name}", text))
    found.append(File(_TRUSTED, wanted.certificate or None))
    for name in _SECRETS:
        content = getattr(wanted.secrets, name) if name in secrets else None
        found.append(File(f"{FOLDER}/{name}", content, mode=0o600))
    return tuple(found)


def _used(wanted: Wanted, name: str) -> bool:
    config = wanted.config or {}
    ways = {"mail_password": "mail", "webhook_url": "webhook", "heartbeat_url": "heartbeat_minutes"}
    return bool(config.get(ways[name]))


def _all_there(settings: Alerts, secrets: AlertSecrets) -> None:
    needed = {
        "mail_password": settings.mail is not None,
        "webhook_url": settings.webhook,
        "heartbeat_url": settings.heartbeat is not None,
    }
    for name in (name for name, is_needed in needed.items() if is_needed):
        value = getattr(secrets, name).get_secret_value()
        hint = f"pulumi config set --secret --path bastide:secrets.alerts.{name}"
        if not value:
            raise StackError(f"settings.alerts needs the secret bastide:secrets.alerts.{name}", hint)
        if name.endswith("_url") and (not value.startswith("https://") or value.split() != [value]):
            raise StackError(f"bastide:secrets.alerts.{name} must be one URL that begins with https://", hint)


def _certificate(name: str) -> str:
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"settings.alerts.certificate: {name} cannot be read: {error.strerror}",
            "give the path of a PEM file, relative to the project; in a lab `make lab` writes it",
        ) from None
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        raise StackError(f"settings.alerts.certificate: {name} is not a certificate", "give a PEM file with it alone")
    return text


def _source(name: str) -> str:
    return Path(__file__).with_name("program").joinpath(f"{name}.py").read_text(encoding="utf-8")
