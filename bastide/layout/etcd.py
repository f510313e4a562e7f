"""etcd's members."""

from __future__ import annotations

from collections.abc import Iterator

from bastide.layout.model import Listener, OpenPort
from bastide.settings import Settings

CLIENT_PORT, PEER_PORT = 2379, 2380
"""Registered with IANA as etcd-client and etcd-server."""
ACCOUNT = "etcd"
UNIT = "etcd.service"
FOLDER = "/etc/etcd"
"""Certificates, how root's tools come in, how a member comes in."""
PEER_CERTIFICATE = f"{FOLDER}/peer.crt"
"""What a member shows other members, of an authority of their own: a client's is worth nothing to them."""
CLIENT_AUTHORITY, PEER_AUTHORITY = f"{FOLDER}/ca.crt", f"{FOLDER}/peer-ca.crt"
ROOT_ACCESS = f"{FOLDER}/root.env"
"""The password of etcd's root. Only where databases are: root there can do all that it opens."""
OWN_ENDPOINT = f"{FOLDER}/own-endpoint"
"""One line: where clients come to this machine's member."""
READ_OWN_ENDPOINT = f"cat {OWN_ENDPOINT} 2>/dev/null || sed -n 's/^# own: //p' {FOLDER}/root.env 2>/dev/null"
"""The same for a shell. A machine that an earlier release deployed says it in a comment alone."""
ENVIRONMENT = "/etc/default/etcd"
TAKEN_WHOLE = {UNIT: ENVIRONMENT}
"""Units of packages whose one file of settings is ours."""
HOME = "/var/lib/etcd"
DATA = f"{HOME}/bastide"
FORMING = f"{HOME}/forming"
"""Beside a member's data, and lost with them, from its first start until it has heard a quorum: so long they are none
of a cluster. The unit takes it away."""
SNAPSHOTS = "/var/lib/bastide-etcd"
CTL = "/usr/local/sbin/bastide-etcdctl"
"""etcdctl for root: as etcd's root where databases are, as nobody on a machine that only votes."""
LEAD = "bastide-etcd-lead"
"""The timer, and its service, by which a site that leads hands that on to the witness."""
LEAD_SCRIPT = "/usr/local/lib/bastide/etcd-lead"
KEEP = "bastide-etcd-keep"
"""The timer, and its service, of the daily snapshot."""


def prefix(stack: str) -> str:
    """The keys that Patroni may read and write."""
    return f"/bastide/{stack}/"


def open_ports(settings: Settings) -> Iterator[OpenPort]:
    """For clients and among members, in the mesh."""
    if settings.postgres:
        yield OpenPort("etcd", CLIENT_PORT, "tcp", "mesh", "etcd for its clients")
        yield OpenPort("etcd", PEER_PORT, "tcp", "mesh", "etcd among its members")


def listeners(settings: Settings, machine: str) -> Iterator[Listener]:
    """A member's two ports."""
    if machine in settings.etcd_members:
        yield Listener(CLIENT_PORT, "tcp", (UNIT,), "etcd")
        yield Listener(PEER_PORT, "tcp", (UNIT,), "etcd")
