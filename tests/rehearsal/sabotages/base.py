"""How the machines are kept: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import Sabotage

_JOURNAL = "/etc/systemd/journald.conf.d/zz-sabotage.conf"  # sorts last, and journald takes the last value
_TOUCHES = ("journald",)
_JOURNALD = "systemctl reset-failed systemd-journald; systemctl restart systemd-journald"  # past its start limit
_NEEDRESTART = "/etc/needrestart/conf.d/zz-sabotage.conf"  # sorts last, and the last word counts

SABOTAGES = (
    Sabotage(
        "base-02",
        "the journal may grow to four gigabytes",
        "journald allows itself 4096 MB",
        f"printf '[Journal]\\nSystemMaxUse=4G\\n' > {_JOURNAL} && {_JOURNALD}",
        f"rm {_JOURNAL} && {_JOURNALD}",
        touches=_TOUCHES,
    ),
    Sabotage(
        "base-02",
        "entries are kept for ever",
        "entries are not removed",
        f"printf '[Journal]\\nMaxRetentionSec=0\\n' > {_JOURNAL} && {_JOURNALD}",
        f"rm {_JOURNAL} && {_JOURNALD}",
        touches=_TOUCHES,
    ),
    Sabotage(
        "base-02",
        "a quiet machine's file spans another month",
        "entries are not removed",
        f"printf '[Journal]\\nMaxFileSec=1month\\n' > {_JOURNAL} && {_JOURNALD}",
        f"rm {_JOURNAL} && {_JOURNALD}",
        touches=_TOUCHES,
    ),
    Sabotage(
        "base-02",
        "the right file, but the journal was never told",
        "journald allows itself 4096 MB",
        f"printf '[Journal]\\nSystemMaxUse=4G\\n' > {_JOURNAL} && {_JOURNALD} && rm {_JOURNAL}",
        _JOURNALD,
        touches=_TOUCHES,
    ),
    Sabotage(
        "base-02",
        "entries are kept for ever, by a file that was read and is gone",
        " was changed after journald read it",
        # times of files go by whole seconds here
        f"printf '[Journal]\\nMaxRetentionSec=0\\n' > {_JOURNAL} && {_JOURNALD} && sleep 2 && rm {_JOURNAL}",
        _JOURNALD,
        touches=_TOUCHES,
    ),
    Sabotage(
        "base-02",
        "a journal of a machine that this one was copied from, which nobody removes",
        "a journal that no limit counts for: /var/log/journal/0123",
        "mkdir /var/log/journal/0123 && touch /var/log/journal/0123/system.journal",
        "rm -r /var/log/journal/0123",
    ),
    Sabotage(
        "base-03",
        "another host name from the next start on",
        "after a restart its host name is localhost",
        "cp -p /etc/hostname /run/hostname && echo localhost > /etc/hostname",
        "cat /run/hostname > /etc/hostname && rm /run/hostname",
    ),
    Sabotage(
        "base-03",
        "the right link, to a file of another place",
        "its clock shows ",
        "cd /usr/share/zoneinfo && mv {timezone} /run/zone && cp Asia/Tokyo {timezone}",
        "mv /run/zone /usr/share/zoneinfo/{timezone}",
        everywhere=("reboot windows",),
    ),
    Sabotage(
        "base-03",
        "another time for all that systemd starts",
        "what systemd starts keeps another time: TZ=Asia/Tokyo",
        "systemctl set-environment TZ=Asia/Tokyo",
        "systemctl unset-environment TZ",
    ),
    Sabotage(
        "base-03",
        "another time zone",
        "its time zone is America/New_York",
        "ln -sf /usr/share/zoneinfo/America/New_York /etc/localtime",
        "ln -sf /usr/share/zoneinfo/{timezone} /etc/localtime",
        everywhere=("reboot windows",),  # they are hours of the machine's own time
    ),
    Sabotage(
        "base-03",
        "another host name",
        "its host name is localhost",
        "hostname > /run/name && hostname localhost",
        "hostname $(cat /run/name) && rm /run/name",
    ),
    Sabotage(
        "base-04",
        "a new log, as logrotate leaves it",
        "an account without rights reads /var/log/dpkg.log",
        "chmod 644 /var/log/dpkg.log",
        "chmod 640 /var/log/dpkg.log",
    ),
    Sabotage(
        "base-04",
        "the earlier list of passwords, open to everybody",
        "an account without rights reads /etc/gshadow-",
        "touch /etc/gshadow- && chmod 644 /etc/gshadow-",
        "chmod 0 /etc/gshadow-",
    ),
    Sabotage(
        "base-04",
        "a service's own log, open to everybody",
        "an account without rights reads /var/log/sabotage/who.log",
        "mkdir -m 755 /var/log/sabotage && touch /var/log/sabotage/who.log",
        "rm -r /var/log/sabotage",
    ),
    Sabotage(
        "base-05",
        "a later file has needrestart ask, which nobody answers",
        "needrestart would not restart by itself: called, restart i",
        f"echo \"\\$nrconf{{{{restart}}}} = 'i';\" > {_NEEDRESTART}",
        f"rm {_NEEDRESTART}",
        touches=("needrestart",),
    ),
    Sabotage(
        "base-05",
        "a later file lets it restart what clusters stand on",
        "needrestart may restart etcd.service",
        f"echo '$nrconf{{{{override_rc}}}}{{{{q(^etcd)}}}} = 1;' > {_NEEDRESTART}",
        f"rm {_NEEDRESTART}",
        touches=("needrestart",),
    ),
    Sabotage(
        "base-05",
        "the right files, and upgrades that do not call it",
        "upgrades do not call needrestart",
        "mv /etc/apt/apt.conf.d/99needrestart /run/99needrestart",
        "mv /run/99needrestart /etc/apt/apt.conf.d/99needrestart",
        touches=("needrestart",),
    ),
    Sabotage(
        "base-06",
        "a program is another one than its package's",
        "/usr/bin/rdebsums",
        "cp -p /usr/bin/rdebsums /run/rdebsums && echo '# more' >> /usr/bin/rdebsums",
        "cp -p /run/rdebsums /usr/bin/rdebsums && rm /run/rdebsums",
    ),
    Sabotage(
        "base-07",
        "somebody brings a compiler along",
        "there is a compiler: /usr/local/bin/tcc",
        "ln -s /bin/true /usr/local/bin/tcc",
        "rm /usr/local/bin/tcc",
    ),
    Sabotage(
        "base-07",
        "telnet is installed, since somebody needed it once",
        "telnet is installed, and not declared",
        "mkdir -p /run/telnet/DEBIAN && printf '%s\\n' 'Package: telnet' 'Version: 1' 'Architecture: all'"
        " 'Maintainer: nobody <nobody@example.eu>' 'Description: none' > /run/telnet/DEBIAN/control"
        " && dpkg-deb --build /run/telnet /run/telnet.deb >&2 && dpkg --install /run/telnet.deb >&2",
        "dpkg --purge telnet >&2 && rm -r /run/telnet /run/telnet.deb",
    ),
)
