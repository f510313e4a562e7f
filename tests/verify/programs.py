"""The programs of ours that run on machines, each by the digest of its text (`probes/remote/programs.py`).

They stand here rather than being read where a deploy reads them, so that another program is never taken for ours. A
unit test holds them beside the project's files (tests/unit/verify/test_programs.py), and prints what is to stand here
when such a file was changed: what such a program does is proven in the rehearsal, of this one.
"""

from __future__ import annotations

from bastide.layout.updates import TURNS

ETCD_TURN, POSTGRES_TURN = f"{TURNS}/10-etcd", f"{TURNS}/20-postgres"
# More than one, where a program is another one on a server that is alone. The alerts' is a folder that Python runs: of
# the names and texts of all in it (`probes/remote/alerts_seen.py`).
DIGESTS = {
    "/etc/bastide/turn.d/10-etcd": (
        "65f3e2841fe9d07d8c09b1be6e5b676c04f9ddf294b2f29734937735e5710b65",
        "d52c862e631ac30a86427a19fd20c0c24f3edc61160f8bcd4c2f90e76ff3adb8",
    ),
    "/etc/bastide/turn.d/20-postgres": ("6afd6f8790dd28e4abcf2d9e89c64b5c7f63d2938a0be998ab95c2669430ef0e",),
    "/usr/local/lib/bastide/alerts": ("7320d95ad582572653d42221e88eb4f1e687fa4b52a68c920acd69e3af09c7d1",),
    "/usr/local/lib/bastide/checks": ("3e6ef5acd7d00232bbcabf50b38f2ff7accb63fecd4ed4ae28914449093176c1",),
    "/usr/local/lib/bastide/etcd-lead": ("0d187432b6aca413d84aae17421796365979ca13219682d676a093d886a4065b",),
    "/usr/local/lib/bastide/patroni": ("0178ac58ce058706d3f80fb1395afe809a40989ea57952d4f6f369674f74f014",),
    "/usr/local/lib/bastide/updates.py": ("0dd63ab751d9b7ac31ba0135f45d436c83c189898aa9cd0cab06c46287769012",),
    "/usr/local/sbin/bastide-etcdctl": ("e2f064391fb7c486d991e2c8c0872b124f48421c791f2be2f2266eb95017db61",),
    "/usr/sbin/policy-rc.d": ("de36830c2687d6fabc424e544a276bcaa090aae8dcfa49719ab1ce1fe30e8f67",),
}
