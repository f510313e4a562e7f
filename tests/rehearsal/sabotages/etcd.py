"""Who decides which database leads: the wrong ways."""

from __future__ import annotations

from bastide.layout.etcd import READ_OWN_ENDPOINT
from tests.rehearsal.sabotages.model import NFT, SHARED, STANDBY, WITNESS, Sabotage

# two of three have to run, and the users are the same for all
_ETCD = ("etcd",)
# while one starts, another one begins to lead, or passwords are off, Patroni's settings are not changed either
_UNSTEADY = (*_ETCD, SHARED)
_ENV = "/etc/default/etcd"
_CTL = "bastide-etcdctl"
_OWN = f"$({READ_OWN_ENDPOINT})"
_ELSEWHERE = "/srv/sabotage"


def _started_with(what: str, says: str, edit: str) -> Sabotage:
    """Another line in what etcd is started with."""
    return Sabotage(
        "etcd-02",
        what,
        says,
        f"cp -p {_ENV} /run/etcd.saved && sed -i '{edit}' {_ENV} && systemctl restart etcd",
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
        WITNESS,
        everywhere=_UNSTEADY,
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
        "a site leads the voters, and nothing brings that back",
        "primary leads the voters, and nothing brings that back",
        # it may have gone elsewhere before, and only who has it hands it on
        "systemctl stop bastide-etcd-lead.timer && /usr/local/lib/bastide/etcd-lead >/dev/null"
        f" && {_CTL} --endpoints={_OWN} move-leader"
        f" $({_CTL} member list | grep ', primary,' | cut -d, -f1) >/dev/null",
        "/usr/local/lib/bastide/etcd-lead >/dev/null; systemctl start bastide-etcd-lead.timer",
        WITNESS,
        everywhere=_UNSTEADY,
    ),
    Sabotage(
        "etcd-04",
        "its data lies on the system's disk",
        "shares its file system with /",
        f"systemctl stop etcd && cp -a /var/lib/etcd/bastide {_ELSEWHERE} && chown etcd: {_ELSEWHERE}"
        f" && sed -i 's,^ETCD_DATA_DIR=.*,ETCD_DATA_DIR={_ELSEWHERE},' {_ENV} && systemctl start etcd",
        # what it was told meanwhile must not be lost: a voter that forgets what it promised is none
        f"systemctl stop etcd && rm -rf /var/lib/etcd/bastide && cp -a {_ELSEWHERE} /var/lib/etcd/bastide"
        f" && sed -i 's,^ETCD_DATA_DIR=.*,ETCD_DATA_DIR=/var/lib/etcd/bastide,' {_ENV} && systemctl start etcd"
        f" && rm -rf {_ELSEWHERE}",
        STANDBY,
        everywhere=_UNSTEADY,
    ),
    Sabotage(
        "etcd-04",
        "nobody takes snapshots any more",
        "the youngest snapshot is 72 hours old",
        "touch -d '72 hours ago' /var/lib/bastide-etcd/snapshot-*.db",
        "touch /var/lib/bastide-etcd/snapshot-*.db",
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
)
