"""What Lynis suggests that is not done, each with its reason; what auditors say of stock Debian; and the goal."""

from __future__ import annotations

from dataclasses import dataclass

from bastide.deviation import Deviation

FINDINGS = (
    Deviation(("LYNIS",), "Debian's package is what is run; Debian mends it."),
    Deviation(
        ("HOME-9304", "HOME-9306"),
        "Of the checks' account, which opens no session: its home is /, root's, where it may write nothing.",
    ),
    Deviation(
        ("PKGS-7388",),
        "It looks for a line of sources.list; archives are described in deb822, and that security updates come from "
        "one is looked at (updates-01).",
    ),
    Deviation(("AUTH-9284",), "No account has a password: each is locked for those, and the key is the proof."),
    Deviation(("BOOT-5180", "KRNL-5788"), "Only in a container: it has no boot loader and no kernel of its own."),
    Deviation(
        ("BOOT-5264",),
        "`make audit` counts each service by the same measure, with a limit for each (sandbox-03), and says which ones "
        "have none, and why.",
    ),
    Deviation(
        ("KRNL-6000:kernel.modules_disabled",),
        "With 1 neither the firewall nor the mesh could load theirs when they start; what nobody needs is refused by "
        "name (kernel-03).",
    ),
    Deviation(
        ("DEB-0280",),
        "Programs that become another account would keep a TMPDIR that they cannot enter; packages set themselves up "
        "so. Nothing runs from /tmp (kernel-05), and services have one of their own (sandbox-02).",
    ),
    Deviation(
        ("DEB-0810", "DEB-0811"),
        "They tell whoever upgrades by hand, and wait for an answer; here upgrades ask nobody.",
    ),
    Deviation(("DEB-0880",), "What we say is in jail.d, which is read after jail.conf: no upgrade undoes it."),
    Deviation(("FILE-6310",), "A provider's image has one file system for all; what grows is bounded where it grows."),
    Deviation(("NAME-4028",), "Machines are called by the name in the stack file and are in no domain."),
    Deviation(("PKGS-7394",), "apt and unattended-upgrades know the same, and updates-01 and updates-02 look at it."),
    Deviation(
        ("SSH-7408:MaxSessions",),
        "A deploy and the checks have several sessions over one connection: the fewer logins, the fewer that fail2ban "
        "has to judge. Ten is OpenSSH's own, and CIS'.",
    ),
    Deviation(("SSH-7408:Port",), "Another port hides nothing from whoever scans; who may reach it is declared."),
    Deviation(
        ("LOGG-2154",), "No host for logs is declared; what must be heard of is sent by alerts, by another machine."
    ),
    Deviation(("ACCT-9622", "ACCT-9626"), "They count what ran, and neither says what it did; auditd will (below)."),
    Deviation(("ACCT-9628", "FINT-4350"), "They come with what only a kernel of one's own can show."),
    Deviation(("TOOL-5002",), "It knows pyinfra by no name, and nothing of it stays on a machine."),
    Deviation(
        ("HRDN-7230",),
        "A scanner reads what strangers sent, with root's rights; no machine takes files of strangers. Programs are "
        "compared with their packages (base-06), and come from signed archives alone (updates-01).",
    ),
)
"""What Lynis suggests, by its tests; `TEST:word` is one of the things that a test looks at."""


@dataclass(frozen=True)
class Stock:
    """What auditors say of Debian 13 as it is installed. `exposure`: of 10, by unit."""

    lynis: int
    exposure: dict[str, float]
    source: str


STOCK = Stock(
    lynis=61,
    exposure={
        **dict.fromkeys(("etcd.service", "patroni.service", "pgbouncer.service"), 9.2),
        **dict.fromkeys(("cron.service", "fail2ban.service", "haproxy.service", "ssh.service"), 9.6),
        "unattended-upgrades.service": 9.6,
    },
    source="Lynis 3.1.4 and systemd 257 on a stock Debian 13 of the local cloud, 2026-11-28",
)
GOAL = 85
"""At least this much of Lynis' index, on every machine."""


def excused(finding: str) -> str:
    """Why what Lynis found ("SSH-7408:Port ...", "LOGG-2154") may be; "" when nobody says so."""
    for one in FINDINGS:
        if any(finding == rule or finding.startswith(f"{rule}:") for rule in one.rules):
            return one.reason
    return ""
