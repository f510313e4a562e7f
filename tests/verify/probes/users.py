"""Who has an account, a key and rights on a machine, and whether who left can come in."""

from __future__ import annotations

from bastide.console import Completed
from bastide.machines import Machine
from tests.verify.probes.batch import command
from tests.verify.probes.engine import probe
from tests.verify.probes.scripts import script
from tests.verify.probes.ssh import CONFIG, refusable
from tests.verify.probes.world import World

_SUDO = """getent passwd | cut -d: -f1 | while read -r user; do
  sudo -n -l -U "$user" 2>/dev/null | grep -q 'may run the following' && echo "$user"
done; true"""
# with the group that an account has from the start, which no list of members shows
_GROUPS = 'getent passwd | cut -d: -f1 | while read -r user; do echo "$user $(id -Gn "$user")"; done'

# what root runs or goes by, and what in there is a service's own (a service's account opens no session)
_ROOTS = ("/etc", "/usr", "/boot", "/opt", "/root", "/var/spool/cron", "/var/lib/dpkg", "/var/lib/systemd/linger")
_SERVICES = (
    "/etc/etcd",
    "/etc/postgresql",
    "/etc/bastide/postgres",
    "/etc/patroni",
    "/etc/pgbouncer",
    "/etc/systemd/network",
)
_FIRST_PERSON = 1000  # Debian Policy, 9.2.2

# Shells that open no session (Debian: nologin(8), false(1), and sync(1) for the account of that name), and the packages
# that bring them.
NO_SHELL = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync", "/usr/bin/sync")
_BRING = ("login", "passwd", "coreutils", "util-linux")
# The file at the very path, be it diverted, linked or mounted over, beside what dpkg was told of it: "path is wanted".
# /bin and /sbin are links themselves, and a package may name either.
_SHELLS = f"""cd /var/lib/dpkg/info
brought() {{ cat {" ".join(f"{name}.md5sums" for name in _BRING)} 2>/dev/null | grep -E "  (usr/)?${{1#/usr/}}$"; }}
for shell in {" ".join(NO_SHELL)}; do
  [ -e "$shell" ] || continue
  path=$(readlink -f "$(dirname "$shell")")/$(basename "$shell")
  echo "$path $(md5sum < "$path" | cut -d' ' -f1)" $(brought "$path" | cut -d' ' -f1)
done | sort -u"""

accounts = command("accounts", "getent passwd")
shells = command("shells", _SHELLS, shows=f"md5sum {' '.join(NO_SHELL)}; cat /var/lib/dpkg/info/login.md5sums")
locks = command("locks", "passwd -S -a | cut -d' ' -f1,2")
groups = command("groups", _GROUPS)
roots_own = command(
    "rootsown",
    script({"places": _ROOTS, "services": _SERVICES, "least": _FIRST_PERSON}, "roots_own"),
    shows=f"find / -perm /6000; getcap -r /; find {' '.join(_ROOTS)} -perm /022 -o ! -user root",
)
group_passwords = command(
    "grouppasswords",
    """awk -F: '{ print $1, ($2 ~ /^[!*]*$/ ? "none" : "password"), $3 }' /etc/gshadow""",
    shows="cut -d: -f1,3 /etc/gshadow",
)
sudo = command("sudo", _SUDO, shows="sudo -l -U NAME (every account)")
# lines of units, processes that wait, and the shell that systemd has for debugging
consoles = command(
    "consoles",
    r"""systemctl is-enabled debug-shell 2>/dev/null | grep -x enabled | sed 's/.*/debug-shell.service is enabled/'
systemctl is-active debug-shell 2>/dev/null | grep -x active | sed 's/.*/debug-shell.service runs/'
grep -rsE '^ExecStart=.*getty.* (--autologin|-a|--skip-login|-n|--login-program|-l)[ =]' /etc/systemd/system \
    /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system
ps -eo args | grep -E '^[^ ]*agetty .*(--autologin|-a|--skip-login|-n|--login-program|-l)[ =]'
echo asked""",
    shows="grep -r getty /etc/systemd/system /usr/lib/systemd/system; systemctl is-enabled debug-shell; ps -eo args",
)
keys = command(
    "keys",
    script({"config": CONFIG}, "sshd_config", "sshd_keys"),
    shows="cat of every file that any AuthorizedKeysFile of sshd's settings names, for every account",
)
left_behind = command(
    "leftbehind",
    lambda world, machine: script({"names": list(world.settings.users.removed)}, "left_behind"),
    shows="grep -rw NAME /etc/sudoers* /etc/group /etc/gshadow; ls /var/spool/cron/crontabs; ps -eo uid,comm",
)


@probe()
def removed_logins(world: World, machine: Machine) -> tuple[str, dict[str, Completed]]:
    """Logins as each person who left, with a key that the server knows."""
    tries = {name: refusable(machine, world.login(machine.name, "-l", name)) for name in world.settings.users.removed}
    return f"ssh -l NAME {machine.name}", tries
