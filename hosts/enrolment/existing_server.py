"""The first contact with a server that somebody else made: from its first user to the automation account.

Its host key stands in the settings and is pinned from the first packet on; the first user has the automation key and
is root by sudo. Over that login the automation account is made, and all else goes through it: the first user is only
needed once. Each step can be repeated. The account's key is put in place last, so whoever can log in with it finds the
account whole: a machine that lets it in has been through this, by an earlier run or from another clone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from bastide.settings import ExistingServer
from hosts.enrolment.root_script import CLOUD_INIT_SECONDS, run_script
from hosts.transport.client import Endpoint, LoginRefused, MachineUnreachable, PinnedClient, connect

# $1 is `account`, $2 its name, $3 its public key, $4 the declared host key. Runs as root on the machine, silently.
_SCRIPT = r"""
set -eu
umask 022
if [ "$(ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key | cut -d ' ' -f 1,2)" != "$4" ]; then
    echo "its host key is not /etc/ssh/ssh_host_ed25519_key, the one that deploys keep: move it there" >&2
    exit 1
fi
for tool in sudo python3; do
    command -v $tool >/dev/null || { echo "it has no $tool: apt-get install $tool" >&2; exit 1; }
done

# two operators at once
exec 9>/run/bastide-host-key.lock
flock -w 60 9

# where there is a cloud-init, it makes accounts and host keys while it is at work; how it ends is its owner's business
if command -v cloud-init >/dev/null; then
    timeout @WAIT@ cloud-init status --wait >/dev/null 2>&1 || true
fi
# somebody's account is not made root, and root does not write into a folder that is somebody's
if getent passwd "$2" >/dev/null && ! [ -e /etc/sudoers.d/bastide ]; then
    echo "there is an account $2 already: choose another name in settings.users.automation" >&2
    exit 1
fi
# before the account: by this file the next run knows the account of a run that was killed in between
# sudo reads no file with a dot in its name (sudoers(5))
printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$2" >/etc/sudoers.d/.bastide
chmod 440 /etc/sudoers.d/.bastide
visudo -cqf /etc/sudoers.d/.bastide
mv /etc/sudoers.d/.bastide /etc/sudoers.d/bastide
getent passwd "$2" >/dev/null || useradd --create-home --user-group --shell /bin/bash --password '*' "$2"

# last: who logs in with it finds all the rest done
home=$(getent passwd "$2" | cut -d : -f 6)
install -d -m 700 -o "$2" -g "$2" "$home/.ssh"
printf '%s\n' "$3" >"$home/.ssh/.bastide"
chown "$2:$2" "$home/.ssh/.bastide"
chmod 600 "$home/.ssh/.bastide"
sync
mv "$home/.ssh/.bastide" "$home/.ssh/authorized_keys"
sync
""".replace("@WAIT@", str(CLOUD_INIT_SECONDS))


@dataclass(frozen=True)
class FirstContact:
    """What the settings say of an existing server's first login. `key` is the automation account's public key."""

    server: ExistingServer
    key: str


def admit(endpoint: Endpoint, first: FirstContact, report: Callable[[str], None], wait: float) -> None:
    """Have the machine let in the automation account (`endpoint.user`), over the first user's login where it is new.

    `wait` is how long in seconds the machine may take to answer. Raises `HostKeyRefused` for any host key but the
    declared one, `MachineUnreachable` when it lets in nobody or the account cannot be made.
    """
    accepted = (first.server.host_key,)
    try:
        connect(endpoint, accepted, wait=wait, report=report, patient=False).close()
    except LoginRefused:
        report(f"first contact: expecting the declared host key, logging in as {first.server.user}")
    else:
        return
    by_hand = replace(endpoint, user=first.server.user)
    try:
        client = connect(by_hand, accepted, wait=wait, report=report)
    except LoginRefused:
        raise LoginRefused(
            f"{endpoint} lets in neither {endpoint.user} nor its first user {by_hand.user} with the automation key",
            f"put settings.users.automation.key into .ssh/authorized_keys of {by_hand.user} there, "
            f"or correct settings.servers.{endpoint.name}.user",
        ) from None
    with contextlib.closing(client):
        _make_account(client, by_hand, endpoint.user, first)
    report(f"the account {endpoint.user} is made; {by_hand.user} is needed no more")


def _make_account(client: PinnedClient, by_hand: Endpoint, account: str, first: FirstContact) -> None:
    code, said, complained = run_script(client, by_hand, _SCRIPT, "account", account, first.key, first.server.host_key)
    if code != 0:
        reason = complained or said or "it said nothing"
        raise MachineUnreachable(
            f"{by_hand} could not make the account {account} (exit code {code}): {reason}",
            f"{by_hand.user} must be root by sudo without a password; mend that there and run the same command again",
        )
