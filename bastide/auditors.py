"""What auditors ask for that is not done, each with its reason, and the values that are set, each with its source.

docs/reference/auditors.md is made from it (`python -m bastide reference`).
"""

from __future__ import annotations

from bastide.deviation import Deviation
from bastide.layout.kernel import FORWARDING, MODULES, MOUNT_OPTIONS, NO_PROGRAMS, SYSCTLS
from bastide.lynis import FINDINGS, GOAL, STOCK

DEVIATIONS = (
    Deviation(
        ("sysctl_net_ipv4_conf_all_arp_ignore",),
        "With 2 a question is answered only to who is in the same network: Hetzner's gateway asks from 172.31.1.1 for "
        "a /32, and would never hear where the server is.",
    ),
    Deviation(("sysctl_kernel_perf_event_paranoid",), "It is 3, Debian's own value, which is stricter than 2."),
    Deviation(
        ("sysctl_kernel_pid_max",),
        "systemd's range is 64 times as wide: numbers come round more seldom, and a signal meets strangers less often.",
    ),
    Deviation(
        ("mount_option_nodev_nonroot_local_partitions",),
        "In a container some folders are file systems of its host's. On a server there are the voters' volume, "
        "and what the platform mounts itself has it (kernel-05).",
    ),
    Deviation(
        ("sysctl_reapply_after_network",),
        "udev has each interface's values set when it comes (99-systemd.rules), whatever brings it (kernel-01).",
    ),
    Deviation(
        ("package_ufw_installed",),
        "The platform has a firewall of its own (firewall-01 to firewall-03); two that write rules undo each other's.",
    ),
    Deviation(
        (
            *("journald_forward_to_syslog", "package_rsyslog_installed", "rsyslog_filecreatemode"),
            "service_rsyslog_enabled",
        ),
        "CIS has a choice, and the journal is ours: it is bounded (base-02), and nothing is forwarded. A server that "
        "has another program for its logs keeps it.",
    ),
    Deviation(
        (
            *("package_systemd-journal-remote_installed", "systemd_journal_upload_server_tls"),
            "systemd_journal_upload_url",
        ),
        "No host for logs is declared; what must be heard of is sent by alerts.",
    ),
    Deviation(
        ("package_chrony_installed", "service_timesyncd_configured"),
        "systemd-timesyncd keeps the time, with Debian's own servers; that it does is looked at (base-01).",
    ),
    Deviation(
        ("ntp_single_service_active", "service_timesyncd_enabled"),
        "In a container the clock is its host's, and systemd-timesyncd stays off by its own condition.",
    ),
    Deviation(
        ("postfix_client_configure_mail_alias",),
        "No machine has a mail server, and so no alias; alerts are sent by their own program.",
    ),
    Deviation(
        ("aide_build_database", "package_aide_installed", "package_audit_installed"),
        "They come with what only a kernel of one's own can show; until then debsums compares what is installed "
        "(base-06).",
    ),
    Deviation(
        ("grub2_enable_apparmor", "package_apparmor_installed", "package_apparmor-utils_installed"),
        "The same: a container has its host's. Services have a sandbox each (sandbox-01 to sandbox-03).",
    ),
    Deviation(
        ("file_groupownerships_var_log", "file_ownerships_var_log"),
        "They take root's and syslog's alone, and there is no account syslog without rsyslog. Each log belongs to root "
        "or to the service that writes it, and no account without rights reads one (base-04).",
    ),
    Deviation(
        ("permissions_local_var_log",),
        "apt and unattended-upgrades open theirs to everybody at each run; their folders are closed, so that nobody "
        "comes to them (base-04).",
    ),
    Deviation(
        ("sshd_use_strong_ciphers", "sshd_use_strong_kex", "sshd_use_strong_macs"),
        "They compare with lists of their own, which change with each edition; ours are those of ssh-audit's policy "
        "for Debian 13 (ssh-02).",
    ),
    Deviation(
        ("mount_option_home_nodev", "mount_option_home_nosuid", "mount_option_home_noexec"),
        "/home is no file system of its own; a provider's image has one for all.",
    ),
    Deviation(
        tuple(f"partition_for_{name}" for name in ("boot", "opt", "srv", "usr", "var", "var_log", "var_tmp")),
        "The same. What grows is bounded where it grows: the journal (base-02), the voters' data (a volume).",
    ),
    Deviation(
        ("accounts_password_pam_unix_rounds_password_auth",),
        "yescrypt has no rounds but a cost (YESCRYPT_COST_FACTOR in login.defs, Debian's 5): 65536 is none. "
        "Whoever asks for SHA-512 gets 65536 rounds.",
    ),
    Deviation(
        ("accounts_password_set_max_life_root",),
        "Root has no password that could get old; were its age to count, root's jobs would end with it.",
    ),
    Deviation(
        ("accounts_passwords_pam_faillock_interval",),
        "It is set (faillock.conf); the rule looks into files that Debian does not have (system-auth, password-auth).",
    ),
    Deviation(
        ("no_direct_root_logins",),
        "It asks for /etc/securetty, which nothing in Debian reads any more. Root has no password and no key.",
    ),
    Deviation(
        ("sudo_add_noexec",),
        "Nothing that starts another program would work with sudo: no script, no apt, no systemctl edit.",
    ),
    Deviation(
        ("sudoers_explicit_command_args",),
        "Administrators may run all that root may. The checks' account may run one program, without a word.",
    ),
    Deviation(
        ("sudo_require_authentication", "sudo_remove_nopasswd"),
        "No account has a password that sudo could ask for: the key is the proof.",
    ),
)
_INTRO = """# What auditors say

Made by `python -m bastide reference` from `bastide/auditors.py`, `bastide/lynis.py` and `bastide/layout/kernel.py`.
`make audit` asks Lynis, systemd and debsums again ([how](../how-to/audit.md)). In a container the kernel's own values
are its host's: rules on them fail there, whatever the files say.

## What is not done, and why

Rules are those of ComplianceAsCode for Debian 13.

| rule | reason |
|---|---|
"""


def auditors_page() -> str:
    """The page as Markdown."""
    values = [f"| `{name}` | 0 | follows from what is declared |" for name in FORWARDING]
    values += [f"| `{one.name}` | {_cell(one.value)} | {_cell(one.source)} |" for one in SYSCTLS]
    return "\n".join(
        [
            _INTRO + _rows(DEVIATIONS),
            "",
            f"What Lynis suggests (goal: {GOAL} of 100 points; stock Debian has {STOCK.lynis}: {STOCK.source}).",
            "",
            "| test | reason |",
            "|---|---|",
            _rows(FINDINGS),
            "",
            "## What the kernel is told",
            "",
            "`*` is all, default and each interface. `settings.kernel.sysctl` wins over this.",
            "",
            "| name | value | by whose word |",
            "|---|---|---|",
            *values,
            "",
            f"Modules that are not loaded: {', '.join(MODULES)}. Mounted with {', '.join(MOUNT_OPTIONS)}: "
            f"{', '.join(NO_PROGRAMS)}.",
            "",
        ]
    )


def _rows(deviations: tuple[Deviation, ...]) -> str:
    return "\n".join(f"| {', '.join(f'`{rule}`' for rule in one.rules)} | {one.reason} |" for one in deviations)


def _cell(text: str) -> str:
    """A bar would end the cell."""
    return text.replace("|", "\\|")
