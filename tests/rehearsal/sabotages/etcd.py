"""Who decides which database leads: the wrong ways."""

from __future__ import annotations

from bastide.layout.etcd import READ_OWN_ENDPOINT
from tests.rehearsal.sabotages.model import ANOTHER_AUTHORITY, NFT, PRIMARY, SHARED, STANDBY, WITNESS, Sabotage

# two of three have to run, and the users are the same for all
_ETCD = ("etcd",)
# while one starts, another one begins to lead, or passwords are off, Patroni's settings are not changed either
_UNSTEADY = (*_ETCD, SHARED)
_ENV = "/etc/default/etcd"
_FOLDER = "/etc/etcd"
_CTL = "bastide-etcdctl"
_OWN = f"$({READ_OWN_ENDPOINT})"
_ELSEWHERE = "/srv/sabotage"
_DROPIN = "/etc/systemd/system/etcd.service.d/zz-sabotage-data.conf"


def _started_with(what: str, says: str, edit: str, first: str = "true") -> Sabotage:
    """Another line in what etcd is started with; `first` makes what it names."""
    return Sabotage(
        "etcd-02",
        what,
        says,
        f"{first} && cp -p {_ENV} /run/etcd.saved && sed -i '{edit}' {_ENV} && systemctl restart etcd",
        f"cp -p /run/etcd.saved {_ENV} && rm /run/etcd.saved && systemctl restart etcd",
        WITNESS,
        everywhere=_UNSTEADY,
    )


SABOTAGES = (
    Sabotage(
        "etcd-01",
        "a voter that nobody started again",
        "no answer from the voter on standby",
        "systemctl stop etcd",
        "systemctl start etcd",
        STANDBY,
        everywhere=_ETCD,
    ),
    Sabotage(
        "etcd-02",
        "nobody is asked for a password, as etcd is by itself",
        "it lets in whoever comes with no password",
        f"{_CTL} auth disable >/dev/null",
        f"{_CTL} auth enable >/dev/null",
        PRIMARY,
        everywhere=_UNSTEADY,
    ),
    _started_with(
        "members take a client for one of them, as with one authority for both",
        "it answers whoever comes with a client's certificate, as a voter",
        "s,^ETCD_PEER_TRUSTED_CA_FILE=.*,ETCD_PEER_TRUSTED_CA_FILE=/run/both.crt,",
        f"cat {_FOLDER}/ca.crt {_FOLDER}/peer-ca.crt > /run/both.crt && chmod 644 /run/both.crt",
    ),
    _started_with(
        "nobody is asked for a certificate",
        "it answers whoever comes with no certificate",
        "/^ETCD_CLIENT_CERT_AUTH=/d;/^ETCD_TRUSTED_CA_FILE=/d",
    ),
    _started_with(
        "it listens at every address",
        "it listens at ",
        "s,^ETCD_LISTEN_CLIENT_URLS=.*,ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:2379,",
    ),
    Sabotage(
        "etcd-02",
        "an application on the same server may speak to it",
        "of this machine gets through to",
        "nft delete table inet bastide_etcd",
        "systemctl reload bastide-etcd-guard",
        touches=(NFT,),
    ),
    Sabotage(
        "etcd-03",
        "a site leads the voters, and nothing gives that away",
        "primary leads the voters, and nothing gives that away",
        # only who has it hands it on: whoever that is is asked
        f"systemctl stop bastide-etcd-lead.timer && {_CTL} move-leader"
        f" $({_CTL} member list | grep ', primary,' | cut -d, -f1) >/dev/null",
        "/usr/local/lib/bastide/etcd-lead >/dev/null; systemctl start bastide-etcd-lead.timer",
        PRIMARY,
        everywhere=_UNSTEADY,
    ),
    Sabotage(
        "etcd-04",
        "its data lies on the system's disk",
        "shares its file system with /",
        f"systemctl stop etcd && cp -a /var/lib/etcd/bastide {_ELSEWHERE} && chown etcd: {_ELSEWHERE}"
        f" && printf '[Service]\\nReadWritePaths={_ELSEWHERE}\\n' > {_DROPIN} && systemctl daemon-reload"
        f" && sed -i 's,^ETCD_DATA_DIR=.*,ETCD_DATA_DIR={_ELSEWHERE},' {_ENV} && systemctl start etcd",
        # what it was told meanwhile must not be lost: a voter that forgets what it promised is none
        f"systemctl stop etcd && rm -rf /var/lib/etcd/bastide && cp -a {_ELSEWHERE} /var/lib/etcd/bastide"
        f" && sed -i 's,^ETCD_DATA_DIR=.*,ETCD_DATA_DIR=/var/lib/etcd/bastide,' {_ENV} && systemctl start etcd"
        f" && rm -rf {_ELSEWHERE} {_DROPIN}; systemctl daemon-reload",
        STANDBY,
        everywhere=_UNSTEADY,
    ),
    Sabotage(
        "etcd-04",
        "nobody takes snapshots any more",
        "the youngest snapshot is 72 hours old",
        "touch -d '72 hours ago' /var/lib/bastide-etcd/snapshot-*.db",
        "touch /var/lib/bastide-etcd/snapshot-*.db",
        STANDBY + PRIMARY,
    ),
    Sabotage(
        "etcd-04",
        "today's snapshot is there, and nobody will take tomorrow's",
        "bastide-etcd-keep.timer is loaded, disabled, inactive",
        "systemctl -q disable --now bastide-etcd-keep.timer",
        "systemctl -q enable --now bastide-etcd-keep.timer",
        STANDBY + PRIMARY,
    ),
    Sabotage(
        "etcd-05",
        "Patroni may read and write all keys",
        "it may read keys of others",
        f"{_CTL} role grant-permission bastide --prefix=true readwrite / >/dev/null",
        f"{_CTL} role revoke-permission bastide --prefix=true / >/dev/null",
        STANDBY,
        everywhere=_ETCD,
    ),
    Sabotage(
        "etcd-02",
        "a second authority, which may vouch for any client",
        "it trusts another authority than this stack's for clients",
        f"cp -p {_FOLDER}/ca.crt /run/sabotage.etcd-ca && {ANOTHER_AUTHORITY} >> {_FOLDER}/ca.crt",
        f"cp -p /run/sabotage.etcd-ca {_FOLDER}/ca.crt && rm /run/sabotage.etcd-ca",
        everywhere=_ETCD,
    ),
    Sabotage(
        "etcd-06",
        "a password of the voters, under a name that nobody looks for",
        f"{_FOLDER}/backup.env is nobody's here",
        f"(umask 077; echo ETCDCTL_PASSWORD=sabotage > {_FOLDER}/backup.env)",
        f"rm {_FOLDER}/backup.env",
        WITNESS,
    ),
    Sabotage(
        "etcd-06",
        "the file with the password of the voters' root on the machine that only votes, as an earlier release had it",
        "a password lies in /etc/etcd/root.env",
        f"(umask 077; echo ETCDCTL_PASSWORD=sabotage > {_FOLDER}/root.env)",
        f"rm {_FOLDER}/root.env",
        WITNESS,
    ),
)
