"""The recipe of the stock image: what is in it, and how it differs from a fresh mmdebstrap.

Like a cloud provider's Debian 13: cloud-init, sshd as Debian ships it, no host keys, root without a password.
All text in here is part of the image's key: a change makes a new image.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from bastide.console import run
from lab.upstream import Upstream

SUITE = "trixie"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "systemd-timesyncd", "udev"),
    *("openssh-server", "sudo", "cloud-init", "nftables", "iproute2", "iputils-ping", "netbase"),
    *("python3", "python3-apt", "ca-certificates", "curl", "wget", "gnupg", "lsb-release"),
    *("locales", "tzdata", "procps", "psmisc", "less", "nano", "vim-tiny", "cron", "logrotate", "bash-completion"),
)
PROBER_PACKAGES = (
    "nmap",
    "ssh-audit",
    "netcat-openbsd",
    "tcpdump",
    "openssl",
    "dnsutils",
    "wireguard-go",
    "wireguard-tools",
)

# Hetzner's recursive resolvers (docs.hetzner.com, "Recursive name servers"). The router of each lab answers there.
RESOLVERS = ("185.12.64.1", "185.12.64.2")
RESOLV_CONF = "".join(f"nameserver {address}\n" for address in RESOLVERS)

# a private network's interface comes up by DHCP, as hc-utils does on Hetzner's images; its routes come from the lease
_PRIVATE_NETWORK = """\
[Match]
Name=enp*s0

[Link]
RequiredForOnline=no

[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no

[DHCPv4]
UseMTU=yes
UseDNS=no
UseHostname=no
UseNTP=no
RapidCommit=yes
"""
# `users: []` and `disable_root: false`: ssh keys of a server go to root, there is no user "debian" (as on Hetzner).
# The network is rendered at each boot, so that a changed address is taken at the next start.
_CLOUD_INIT = """\
datasource_list: [NoCloud]
users: []
disable_root: false
preserve_hostname: false
updates: {network: {when: [boot-new-instance, boot]}}
system_info: {network: {renderers: [networkd]}}
apt: {preserve_sources_list: true}
"""
# the console of a container is a pipe: a login on it can only fail. `proc-sys-fs-binfmt_misc` needs the outer kernel.
_MASKED = (
    "console-getty.service",
    "getty@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-networkd-wait-online.service",
)
_ENABLED = ("systemd-networkd.service", "ssh.service")


def fingerprint() -> str:
    """A hash of everything that this module puts into an image."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def mmdebstrap_argv(root: Path, upstream: Upstream) -> list[str]:
    """The command that unpacks and configures the packages into the folder `root`."""
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--skip=output/dev"]
    argv += [f"--include={','.join(PACKAGES)}"]
    argv += [f'--aptopt=Acquire::{scheme}::Proxy "{url}"' for scheme, url in upstream.proxies]
    return [*argv, SUITE, str(root), *_sources(upstream)]


def finish(root: Path, upstream: Upstream) -> None:
    """Turn the fresh system in `root` into a stock image."""
    _write(root, "etc/apt/sources.list.d/debian.sources", _deb822(upstream))
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    _write(root, "etc/systemd/network/20-private.network", _PRIVATE_NETWORK)
    _write(root, "etc/cloud/cloud.cfg.d/95-lab.cfg", _CLOUD_INIT)
    _write(root, "etc/resolv.conf", RESOLV_CONF)
    _write(root, "etc/hostname", "debian\n")
    _write(root, "etc/machine-id", "")
    for name, pem in upstream.authorities:
        _write(root, f"usr/local/share/ca-certificates/{name}", pem)
    run(["chroot", root, "update-ca-certificates"])
    run(["chroot", root, "systemctl", "enable", *_ENABLED])
    run(["chroot", root, "systemctl", "mask", *_MASKED])
    run(["chroot", root, "passwd", "--lock", "root"])
    for pattern in ("etc/ssh/ssh_host_*", "var/log/*.log", "var/lib/apt/lists/*", "var/cache/apt/*.bin", "run/*"):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _sources(upstream: Upstream) -> list[str]:
    return [
        f"deb {upstream.mirror} {SUITE} main",
        f"deb {upstream.mirror} {SUITE}-updates main",
        f"deb {upstream.security} {SUITE}-security main",
    ]


def _deb822(upstream: Upstream) -> str:
    signed = "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    return (
        f"Types: deb\nURIs: {upstream.mirror}\nSuites: {SUITE} {SUITE}-updates\nComponents: main\n{signed}\n"
        f"Types: deb\nURIs: {upstream.security}\nSuites: {SUITE}-security\nComponents: main\n{signed}"
    )


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # unlink first: Debian makes some of these symbolic links, which must not be written through
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o644)
