"""What the kernel is told: values by name, modules that it does not load, and by whose word.

Sources: *ip-sysctl* and *admin-guide* are the kernel's own (Documentation/networking/ip-sysctl.rst,
Documentation/admin-guide/sysctl), *CIS* the CIS Debian Linux 13 Benchmark, *ANSSI* the recommendations
R9 to R14 of ANSSI-BP-028, *KSPP* the Kernel Self-Protection Project's recommended settings, *Lynis* its test KRNL-6000.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastide.settings import Settings

SYSCTL_FILE = "/etc/sysctl.d/zz-bastide.conf"
"""The last by its name is the one that counts (sysctl.d(5)); those of Debian and of packages begin with numbers."""
SYSCTL_UNIT = "systemd-sysctl.service"
MODPROBE_FILE = "/etc/modprobe.d/bastide.conf"
LIMITS_FILE = "/etc/security/limits.d/zz-bastide.conf"
COREDUMP_FILE = "/etc/systemd/coredump.conf.d/bastide.conf"
TMP_UNIT, TMP_FILE = "tmp.mount", "/etc/systemd/system/tmp.mount.d/bastide.conf"
NO_PROGRAMS = ("/dev/shm", "/tmp")  # noqa: S108 - that is what they are called
"""Where everybody may write and nothing runs: each a file system of its own, mounted with these options."""
MOUNT_OPTIONS = ("nosuid", "nodev", "noexec")


@dataclass(frozen=True)
class Sysctl:
    """A value by its name. `*`: for all, default and each interface. `source`: who says so, or why it is so."""

    name: str
    value: str
    source: str


# first of all: a change of it resets what else depends on being a host or a router (ip-sysctl, ip_forward)
FORWARDING = ("net.ipv4.ip_forward", "net.ipv4.conf.*.forwarding", "net.ipv6.conf.*.forwarding")
_V4, _V6 = "net.ipv4.conf.*", "net.ipv6.conf.*"
SYSCTLS = (
    # redirects: nobody but the table of routes says where packets go
    Sysctl(f"{_V4}.accept_redirects", "0", "CIS, ANSSI"),
    Sysctl(f"{_V4}.secure_redirects", "0", "CIS, ANSSI: not from gateways either"),
    Sysctl(f"{_V4}.shared_media", "0", "ANSSI: 1 would overrule secure_redirects (ip-sysctl)"),
    Sysctl(f"{_V4}.send_redirects", "0", "CIS, ANSSI"),
    Sysctl(f"{_V6}.accept_redirects", "0", "CIS, ANSSI"),
    # who a packet claims to be from
    # the greater of `all` and the interface's counts (ip-sysctl). Strict, as CIS and ANSSI want it: the mesh, a private
    # network and the way out each have one interface, which answers go to as well
    Sysctl(f"{_V4}.rp_filter", "1", "CIS, ANSSI; RFC 3704, 2.2"),
    Sysctl(f"{_V4}.accept_source_route", "0", "CIS, ANSSI"),
    Sysctl(f"{_V6}.accept_source_route", "0", "CIS, ANSSI"),
    Sysctl(f"{_V4}.log_martians", "1", "CIS"),
    Sysctl(f"{_V4}.accept_local", "0", "ANSSI"),
    Sysctl(f"{_V4}.route_localnet", "0", "ANSSI"),
    # what neighbours may ask for and say
    Sysctl(f"{_V4}.arp_filter", "1", "ANSSI"),
    Sysctl(f"{_V4}.drop_gratuitous_arp", "1", "ANSSI"),
    Sysctl(f"{_V4}.proxy_arp", "0", "Lynis"),
    Sysctl(f"{_V4}.bootp_relay", "0", "Lynis"),
    # addresses and routes of IPv6 are given, or asked for by systemd-networkd itself (systemd.network(5), IPv6AcceptRA)
    Sysctl(f"{_V6}.accept_ra", "0", "CIS"),
    Sysctl(f"{_V6}.accept_ra_defrtr", "0", "ANSSI"),
    Sysctl(f"{_V6}.accept_ra_pinfo", "0", "ANSSI"),
    Sysctl(f"{_V6}.accept_ra_rtr_pref", "0", "ANSSI"),
    Sysctl(f"{_V6}.autoconf", "0", "ANSSI"),
    Sysctl(f"{_V6}.max_addresses", "1", "ANSSI: of those that are made from advertisements"),
    Sysctl(f"{_V6}.router_solicitations", "0", "ANSSI"),
    # what is answered, and how
    Sysctl("net.ipv4.icmp_echo_ignore_broadcasts", "1", "CIS"),
    Sysctl("net.ipv4.icmp_ignore_bogus_error_responses", "1", "CIS, ANSSI"),
    Sysctl("net.ipv4.tcp_syncookies", "1", "CIS, ANSSI"),
    Sysctl("net.ipv4.tcp_rfc1337", "1", "ANSSI; RFC 1337"),
    Sysctl("net.ipv4.ip_local_port_range", "32768 65535", "ANSSI"),
    # what accounts without rights learn of the kernel and of each other's processes
    Sysctl("kernel.kptr_restrict", "2", "ANSSI, Lynis"),
    Sysctl("kernel.dmesg_restrict", "1", "ANSSI, CIS"),
    Sysctl("kernel.yama.ptrace_scope", "1", "CIS, ANSSI: a process traces its own children alone"),
    Sysctl("kernel.perf_event_paranoid", "3", "Debian's own value, and stricter than ANSSI's 2"),
    Sysctl("kernel.perf_cpu_time_max_percent", "1", "ANSSI; before the rate, which 0 and 100 would lock"),
    Sysctl("kernel.perf_event_max_sample_rate", "1", "ANSSI"),
    # what they may have the kernel do
    Sysctl("kernel.unprivileged_bpf_disabled", "1", "ANSSI; not to be undone before the next boot (admin-guide)"),
    Sysctl("net.core.bpf_jit_harden", "2", "ANSSI"),
    Sysctl("dev.tty.ldisc_autoload", "0", "Lynis: no module for what a terminal asks for"),
    Sysctl("kernel.kexec_load_disabled", "1", "KSPP: no other kernel but by a boot"),
    Sysctl("kernel.sysrq", "0", "ANSSI"),
    Sysctl("kernel.panic_on_oops", "1", "ANSSI: a kernel that is broken does not go on"),
    Sysctl("kernel.panic", "10", "so that it boots by itself, and is not waited for at a console"),
    Sysctl("kernel.randomize_va_space", "2", "CIS, ANSSI"),
    Sysctl("vm.mmap_min_addr", "65536", "ANSSI"),
    # links and pipes in folders that all may write to
    Sysctl("fs.protected_hardlinks", "1", "CIS, ANSSI"),
    Sysctl("fs.protected_symlinks", "1", "CIS, ANSSI"),
    Sysctl("fs.protected_fifos", "2", "ANSSI"),
    Sysctl("fs.protected_regular", "2", "ANSSI"),
    # memory of a process that crashed: it holds what the process knew
    Sysctl("fs.suid_dumpable", "0", "CIS, ANSSI"),
    Sysctl("kernel.core_pattern", "|/bin/false", "core(5): limits do not hold for a pipe, so that it goes to nobody"),
    Sysctl("kernel.core_uses_pid", "1", "Lynis"),
)
MODULES = (
    # protocols that nothing here speaks, each with its own past: CIS 3.2
    *("atm", "can", "dccp", "rds", "sctp", "tipc"),
    # file systems that nothing here mounts: CIS 1.1.1
    *("cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "squashfs", "udf"),
    # what somebody could plug in: CIS 1.1.1, Lynis
    *("firewire-core", "firewire-ohci", "usb-storage"),
)
"""Kernel modules that are not loaded, by whoever asks."""


def wanted_sysctls(settings: Settings) -> dict[str, str]:
    """All values by name, in the order in which they are set; what the stack file says wins."""
    forwarding = dict.fromkeys(FORWARDING, str(int(settings.forwards)))
    return {**forwarding, **{one.name: one.value for one in SYSCTLS}, **settings.kernel.sysctl}


def per_machine(name: str) -> bool:
    """Whether a container has its own value, as each network namespace has. All others are of the kernel it shares, and
    so is bpf's (linux: net/core/sysctl_net_core.c)."""
    return name.startswith("net.") and name != "net.core.bpf_jit_harden"


def path_of(name: str) -> str:
    """Where a value is below /proc/sys: dots and slashes change places (sysctl.d(5))."""
    return name.translate(str.maketrans("./", "/."))


def wanted_at(path: str, wanted: dict[str, str]) -> str | None:
    """The value of one path, `wanted` by paths: one that is named itself wins over `*`. `None` for none."""
    words = path.split("/")
    every = "/".join([*words[:3], "*", *words[4:]]) if len(words) == 5 else path
    return wanted.get(path, wanted.get(every))
