"""What every machine has, and what none has: files that are closed, programs that are not there."""

from __future__ import annotations

from dataclasses import dataclass

JOURNAL = "/etc/systemd/journald.conf"
TMPFILES = "/etc/tmpfiles.d/bastide.conf"
LOGROTATE = "logrotate.service"
NEEDRESTART = "/etc/needrestart/conf.d/bastide-base.conf"
DEBSUMS = "/etc/default/debsums"


@dataclass(frozen=True)
class Closed:
    """A file or folder that Debian leaves wider open than anything needs. `group`: whose members may read, besides."""

    path: str
    mode: int
    group: str = "root"


REWRITTEN = (
    # only root ever looks at them, and does so whatever the mode says
    Closed("/etc/shadow-", 0),
    Closed("/etc/gshadow-", 0),
)
"""What whoever changes an account writes anew, with the mode of the present list, which group shadow may read: closed
each day and at each boot, and no difference meanwhile."""
CLOSED = (
    # apt opens its history to everybody at each run: the folder stays closed
    Closed("/var/log/apt", 0o750, "adm"),
    Closed("/var/log/alternatives.log", 0o640, "adm"),
    Closed("/var/log/bastide-apt.log", 0o640, "adm"),
    Closed("/var/log/dpkg.log", 0o640, "adm"),
    # who came when, and from where
    Closed("/var/log/lastlog", 0o660, "utmp"),
    Closed("/var/log/wtmp", 0o660, "utmp"),
)

UNNEEDED = (
    # they speak without encryption
    *("ftp", "ftpd", "inetutils-ftp", "inetutils-ftpd", "inetutils-inetd", "inetutils-talk", "inetutils-talkd"),
    *("inetutils-telnet", "inetutils-telnetd", "lftp", "nis", "openbsd-inetd", "proftpd-core", "pure-ftpd", "rlinetd"),
    *("rsh-client", "rsh-redone-client", "rsh-redone-server", "rsh-server", "talk", "talkd", "telnet", "telnetd"),
    *("telnetd-ssl", "tftp-hpa", "tftpd-hpa", "tnftp", "vsftpd", "xinetd", "ypbind-mt", "ypserv"),
    # they serve what no machine here is there for
    *(
        "avahi-daemon",
        "cups",
        "cups-daemon",
        "dovecot-core",
        "isc-dhcp-server",
        "kea",
        "ldap-utils",
        "nfs-kernel-server",
    ),
    *("rpcbind", "rsync-daemon", "samba", "slapd", "snmp", "snmpd", "squid", "xserver-xorg-core"),
)
"""Debian packages that no machine has, unless settings.base.packages names them (CIS 2.1 and 2.2, ANSSI R58, R62)."""
COMPILERS = ("as", "c++", "c89", "c99", "cc", "clang", "g++", "gcc", "ld", "tcc")
"""Programs with which somebody inside would make others (Lynis, HRDN-7222)."""
