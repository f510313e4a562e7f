"""What auditors ask for that is not done, each with its reason, and the values that are set, each with its source.

docs/reference/auditors.md is made from it (`python -m bastide reference`).
"""

from __future__ import annotations

from dataclasses import dataclass

from bastide.layout.kernel import FORWARDING, MODULES, MOUNT_OPTIONS, NO_PROGRAMS, SYSCTLS


@dataclass(frozen=True)
class Deviation:
    """Rules of ComplianceAsCode's content for Debian 13 (CIS, ANSSI BP-028) that fail, by ids, and why they may."""

    rules: tuple[str, ...]
    reason: str


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

Made by `python -m bastide reference` from `bastide/auditors.py` and `bastide/layout/kernel.py`. So far: the kernel and
accounts. In a container the kernel's own values are its host's: rules on them fail there, whatever the files say.

## What is not done, and why

Rules are those of ComplianceAsCode for Debian 13.

| rule | reason |
|---|---|
"""


def auditors_page() -> str:
    """The page as Markdown."""
    deviations = [f"| {', '.join(f'`{rule}`' for rule in one.rules)} | {one.reason} |" for one in DEVIATIONS]
    values = [f"| `{name}` | 0 | follows from what is declared |" for name in FORWARDING]
    values += [f"| `{one.name}` | {_cell(one.value)} | {_cell(one.source)} |" for one in SYSCTLS]
    return "\n".join(
        [
            _INTRO + "\n".join(deviations),
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


def _cell(text: str) -> str:
    """A bar would end the cell."""
    return text.replace("|", "\\|")
