"""What the kernel refuses: the wrong ways."""

from __future__ import annotations

from bastide.layout.kernel import LIMITS_FILE, MODPROBE_FILE, SYSCTL_FILE
from tests.rehearsal.sabotages.model import Sabotage

_LATER = "/etc/sysctl.d/zzz-sabotage.conf"  # sorts behind the platform's
_CONF = "/proc/sys/net/ipv4/conf"

SABOTAGES = (
    Sabotage(
        "kernel-01",
        "redirects are taken again, by hand",
        "net/ipv4/conf/all/accept_redirects is 1",
        "sysctl -qw net.ipv4.conf.all.accept_redirects=1",
        "sysctl -qw net.ipv4.conf.all.accept_redirects=0",
    ),
    Sabotage(
        "kernel-01",
        "all and default are right, one interface is not",
        "rp_filter is 2",
        f"for one in {_CONF}/wg0 {_CONF}/lo; do [ -d $one ] && break; done; echo 2 > $one/rp_filter",
        f"for one in {_CONF}/wg0 {_CONF}/lo; do [ ! -d $one ] || echo 1 > $one/rp_filter; done",
    ),
    Sabotage(
        "kernel-01",
        "somebody else's file says otherwise at the next boot, one interface's name in it",
        "net/ipv4/conf/lo/send_redirects will be 1 after a reboot",
        f"echo net.ipv4.conf.lo.send_redirects = 1 > {_LATER}",
        f"rm {_LATER}",
        touches=("sysctl.d",),
    ),
    Sabotage(
        "kernel-01",
        "packets are passed on, as a container engine has it",
        "net/ipv4/ip_forward is 1",
        "sysctl -qw net.ipv4.ip_forward=1",
        # a change of it resets other values
        f"sysctl -qw net.ipv4.ip_forward=0; /usr/lib/systemd/systemd-sysctl {SYSCTL_FILE}",
        touches=("forwarding",),
    ),
    Sabotage(
        "kernel-01",
        "what tells the kernel at boot is masked",
        "systemd-sysctl.service is masked: nothing is set at the next boot",
        "systemctl -q mask systemd-sysctl.service",
        "systemctl -q unmask systemd-sysctl.service",
        touches=("sysctl.d",),
    ),
    Sabotage(
        "kernel-02",
        "a debugger's file lets everybody trace at the next boot",
        "kernel/yama/ptrace_scope will be 0 after a reboot",
        f"printf 'kernel/yama/ptrace_scope=0\\nkernel.dmesg_restrict=0\\n' > {_LATER}",
        f"rm {_LATER}",
        touches=("sysctl.d",),
    ),
    Sabotage(
        "kernel-03",
        "a line is gone: udf can be mounted",
        "modprobe would answer udf with",
        f"cp -p {MODPROBE_FILE} /run/modprobe.saved && sed -i '/ udf/d' {MODPROBE_FILE}",
        f"cp -p /run/modprobe.saved {MODPROBE_FILE} && rm /run/modprobe.saved",
        touches=("modprobe.d",),
    ),
    Sabotage(
        "kernel-03",
        "blacklist alone: who asks by name gets it",
        "modprobe would answer sctp with",
        f"cp -p {MODPROBE_FILE} /run/modprobe.saved && sed -i '/^install sctp/d' {MODPROBE_FILE}",
        f"cp -p /run/modprobe.saved {MODPROBE_FILE} && rm /run/modprobe.saved",
        touches=("modprobe.d",),
    ),
    Sabotage(
        "kernel-03",
        "somebody else's file has it loaded all the same",
        "modprobe would answer dccp with",
        "echo 'install dccp /sbin/modprobe --ignore-install dccp' > /etc/modprobe.d/00-sabotage.conf",
        "rm /etc/modprobe.d/00-sabotage.conf",
        touches=("modprobe.d",),
    ),
    Sabotage(
        "kernel-04",
        "a limit for one account",
        "a process of nobody may leave unlimited",
        "echo 'nobody hard core unlimited' > /etc/security/limits.d/zzz-sabotage.conf",
        "rm /etc/security/limits.d/zzz-sabotage.conf",
        touches=("limits.d",),
    ),
    Sabotage(
        "kernel-04",
        "root was forgotten: * does not name it",
        "a process of root may leave",
        f"cp -p {LIMITS_FILE} /run/limits.saved && sed -i /^root/d {LIMITS_FILE}",
        f"cp -p /run/limits.saved {LIMITS_FILE} && rm /run/limits.saved",
        touches=("limits.d",),
    ),
    Sabotage(
        "kernel-04",
        "systemd's collector keeps what it gets",
        "systemd-coredump would store: external",
        "printf '[Coredump]\\nStorage=external\\n' > /etc/systemd/coredump.conf.d/zz-sabotage.conf",
        "rm /etc/systemd/coredump.conf.d/zz-sabotage.conf",
        touches=("coredump.conf",),
    ),
    Sabotage(
        "kernel-05",
        "shared memory lets programs run again",
        "a program runs from /dev/shm",
        "mount -o remount,exec /dev/shm",
        "mount -o remount,noexec /dev/shm",
        touches=("shm",),
    ),
    Sabotage(
        "kernel-05",
        "its line in fstab is gone: right until the next boot",
        "/dev/shm will be mounted without noexec",
        "cp -p /etc/fstab /run/fstab.saved && sed -i '\\,/dev/shm,d' /etc/fstab && systemctl daemon-reload",
        "cp -p /run/fstab.saved /etc/fstab && rm /run/fstab.saved && systemctl daemon-reload",
        touches=("shm",),
    ),
    Sabotage(
        "kernel-05",
        "a drop-in that somebody needed for an installer",
        "/tmp will be mounted without noexec",
        "printf '[Mount]\\nOptions=mode=1777,nosuid,nodev\\n' > /etc/systemd/system/tmp.mount.d/zz-sabotage.conf"
        " && systemctl daemon-reload",
        "rm /etc/systemd/system/tmp.mount.d/zz-sabotage.conf && systemctl daemon-reload",
        touches=("tmp",),
    ),
    Sabotage(
        "kernel-05",
        "a program of somebody else's rights counts in /tmp",
        "/tmp is mounted without nosuid",
        "mount -o remount,suid,noexec,nodev /tmp",
        "mount -o remount,nosuid,nodev,noexec /tmp",
        touches=("tmp",),
    ),
)
