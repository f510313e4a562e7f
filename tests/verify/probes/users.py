"""Who has an account, a key and rights on a machine, and whether who left can come in."""

from __future__ import annotations

from bastide.console import Completed
from bastide.machines import Machine
from tests.verify.probes.batch import command
from tests.verify.probes.engine import probe
from tests.verify.probes.ssh import STRANGER, effective_script, refusable
from tests.verify.probes.world import World

# a Match block may let in an account that nobody declared, the system's own included: so every one is asked about
_ADMITTED = f"""getent passwd | cut -d: -f1 | while read -r user; do
  sshd -T -C "user=$user,host={STRANGER},addr={STRANGER}" | sed -n "s/^allowusers /$user /p"
done"""
# every pattern that any account's effective settings name, tried for every account: a Match block may name another one;
# `$a\` ends a last line that has no end, or the next account's first key would hide behind it
_KEYS = """{ sshd -T; @EFFECTIVE@; } 2>/dev/null | sed -n 's/^authorizedkeysfile //p' | tr ' ' '\\n' | sort -u |
while read -r pattern; do
  getent passwd | while IFS=: read -r user _ _ _ _ home _; do
    case $pattern in /*) file=$pattern ;; *) file=$home/$pattern ;; esac
    file=$(printf %s "$file" | sed "s,%u,$user,g;s,%h,$home,g")
    [ -f "$file" ] && sed -e "s,^,$user ," -e '$a\\' "$file"
  done
done; true"""
_SUDO = """getent passwd | cut -d: -f1 | while read -r user; do
  sudo -n -l -U "$user" 2>/dev/null | grep -q 'may run the following' && echo "$user"
done; true"""
# with the group that an account has from the start, which no list of members shows
_GROUPS = 'getent passwd | cut -d: -f1 | while read -r user; do echo "$user $(id -Gn "$user")"; done'

accounts = command("accounts", "getent passwd")
locks = command("locks", "passwd -S -a | cut -d' ' -f1,2")
groups = command("groups", _GROUPS)
sudo = command("sudo", _SUDO, shows="sudo -l -U NAME (every account)")
admitted = command("admitted", _ADMITTED, shows="sshd -T -C user=NAME (every account): AllowUsers")
keys = command(
    "keys",
    lambda world, machine: _KEYS.replace("@EFFECTIVE@", effective_script(world, machine)),
    shows="cat of every file that sshd's AuthorizedKeysFile names, for every account",
)


@probe()
def removed_logins(world: World, machine: Machine) -> tuple[str, dict[str, Completed]]:
    """Logins as each person who left, with a key that the server knows."""
    tries = {name: refusable(machine, world.login(machine.name, "-l", name)) for name in world.settings.users.removed}
    return f"ssh -l NAME {machine.name}", tries
