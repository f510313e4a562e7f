"""What a service may do: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import ANY, STANDBY, Sabotage

_SYSTEM = "/etc/systemd/system"
_FAIL2BAN = ("fail2ban",)
# the server answers again some seconds after its Patroni was started
_SERVED = "; timeout 60 sh -c 'until pg_isready -q -h /run/postgresql; do sleep 0.2; done'"


def _told(
    control: str, what: str, says: str, unit: str, lines: str, *, left: str = "",
    waits: str = "", machines: tuple[str, ...] = ANY, touches: tuple[str, ...] = (), everywhere: tuple[str, ...] = (),
) -> Sabotage:  # fmt: skip
    """A drop-in that is read after the platform's, and the service restarted. `left`: what is done to the drop-in
    then; `waits`: until it is well."""
    folder = f"{_SYSTEM}/{unit}.service.d"
    file = f"{folder}/zz-sabotage.conf"
    restart = f"systemctl daemon-reload && systemctl reset-failed {unit}; systemctl restart {unit}{waits}"
    return Sabotage(
        control,
        what,
        says,
        f"mkdir -p {folder} && printf '%s\\n' '[Service]' '{lines}' > {file} && {restart}{left.format(file=file)}",
        f"rm -f {file} && {restart}",
        machines,
        touches=touches,
        everywhere=everywhere,
    )


def _without(control: str, what: str, says: str, directive: str) -> Sabotage:
    """fail2ban's drop-in without one of its lines."""
    file, saved = f"{_SYSTEM}/fail2ban.service.d/bastide.conf", "/run/sandbox.saved"
    restart = "systemctl daemon-reload && systemctl reset-failed fail2ban; systemctl restart fail2ban"
    return Sabotage(
        control,
        what,
        says,
        f"cp -p {file} {saved} && sed -i '/^{directive}=/d' {file} && {restart}",
        f"cp -p {saved} {file} && rm {saved} && {restart}",
        touches=_FAIL2BAN,
    )


SABOTAGES = (
    _told(
        "sandbox-01",
        "a later drop-in gives etcd all rights of root's",
        "of root's rights too many (CapBnd)",
        "etcd",
        "CapabilityBoundingSet=~",
        machines=STANDBY,
        everywhere=("etcd", "shared settings"),
    ),
    _told(
        "sandbox-01",
        "a later drop-in lets fail2ban make any system call",
        "may call mount",
        "fail2ban",
        "SystemCallFilter=",
        touches=_FAIL2BAN,
    ),
    _told(
        "sandbox-01",
        "the right drop-in, and a process that was started before it",
        "of root's rights too many (CapBnd)",
        "fail2ban",
        "CapabilityBoundingSet=~",
        left=" && rm {file} && systemctl daemon-reload",
        touches=_FAIL2BAN,
    ),
    _told(
        "sandbox-01",
        "HAProxy as root, as Debian's unit starts it",
        "haproxy runs as another account than haproxy",
        "haproxy",
        # it could not even write into its folder without a right of root's
        "User=root' 'CapabilityBoundingSet=~",
        machines=STANDBY,
        touches=("haproxy",),
    ),
    _told(
        "sandbox-01",
        "a later drop-in leaves all rights of root's to Patroni, and to the PostgreSQL that it starts",
        "patroni.service: postgres has",
        "patroni",
        "CapabilityBoundingSet=~",
        waits=_SERVED,
        machines=STANDBY,
        everywhere=("shared settings",),
    ),
    _told(
        "sandbox-02",
        "a later drop-in lets PostgreSQL write wherever its account may",
        "postgres can write to /",
        "patroni",
        "ProtectSystem=no",
        waits=_SERVED,
        machines=STANDBY,
        everywhere=("shared settings",),
    ),
    _told(
        "sandbox-02",
        "a later drop-in lets etcd write wherever its account may",
        "etcd can write to /",
        "etcd",
        "ProtectSystem=no",
        machines=STANDBY,
        everywhere=("etcd", "shared settings"),
    ),
    _without("sandbox-02", "a drop-in that leaves the whole system writable", "can write to /", "ProtectSystem"),
    Sabotage(
        "sandbox-03",
        "the drop-in is gone, as after the package was purged and installed again",
        "fail2ban.service has 9.",
        f"mv {_SYSTEM}/fail2ban.service.d/bastide.conf /run/sandbox.gone && systemctl daemon-reload",
        f"mv /run/sandbox.gone {_SYSTEM}/fail2ban.service.d/bastide.conf && systemctl daemon-reload",
        touches=_FAIL2BAN,
    ),
    Sabotage(
        "sandbox-03",
        "a service that runs now and then may do anything",
        "dpkg-db-backup.service has 9.",
        f"mv {_SYSTEM}/dpkg-db-backup.service.d/bastide.conf /run/sandbox.dpkg && systemctl daemon-reload",
        f"mv /run/sandbox.dpkg {_SYSTEM}/dpkg-db-backup.service.d/bastide.conf && systemctl daemon-reload",
    ),
)
