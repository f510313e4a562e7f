"""Who has an account, a key and rights: exactly whom the stack file names."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bastide.controls import count, join
from bastide.machines import Machine
from bastide.settings import Settings, key_blob
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import users
from tests.verify.probes.ssh import STRANGER, effective, effective_settings, refused, running
from tests.verify.probes.updates import parsed
from tests.verify.probes.world import Observation

# groups whose members can make themselves root
_ROOT_GROUPS = ("root", "disk", "kmem", "shadow", "docker", "lxd", "incus-admin", "libvirt", "wheel")
# what Debian 13's packages bring that runs with other rights than its caller's: setuid, setgid, capabilities
_RAISED = {
    *(f"/usr/bin/{name}" for name in ("chage", "chfn", "chsh", "crontab", "expiry", "gpasswd", "mount", "newgrp")),
    *(f"/usr/bin/{name}" for name in ("passwd", "ssh-agent", "su", "sudo", "umount", "at", "fusermount3", "pkexec")),
    *(f"/usr/sbin/{name}" for name in ("unix_chkpwd", "exim4", "postdrop", "postqueue", "mount.nfs", "mount.cifs")),
    "/usr/lib/openssh/ssh-keysign",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/lib/polkit-1/polkit-agent-helper-1",
}
_CAPABLE = {f"/usr/bin/{name}" for name in ("ping", "arping", "mtr-packet", "newuidmap", "newgidmap")}
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_KEY_TYPES = ("ssh-", "sk-ssh-", "ecdsa-", "sk-ecdsa-")
# other ways into an account than a key in its own file (sshd_config(5)), with the value that closes each
_OTHER_SOURCES = {
    **dict.fromkeys(("authorizedkeyscommand", "trustedusercakeys", "authorizedprincipalsfile"), "none"),
    # whether a file of keys counts that others may write
    "strictmodes": "yes",
}


def _declared(settings: Settings) -> set[str]:
    checks = settings.users.verification
    return {settings.users.automation.name, *settings.users.people, *((checks.name,) if checks else ())}


def _keys(observation: Observation) -> dict[str, set[str]]:
    """The keys that open each account, as type and middle part."""
    found: dict[str, set[str]] = {}
    for line in observation.data.text.splitlines():
        user, _, entry = line.partition(" ")
        # options come first, and what stands in their quotes may look like a key (sshd(8), AUTHORIZED_KEYS FILE FORMAT)
        words = _QUOTED.sub('""', entry).split()
        if not words or words[0].startswith("#"):
            continue
        kinds = [index for index, word in enumerate(words) if word.startswith(_KEY_TYPES)]
        start = kinds[0] if kinds else 0
        # a key that vouches for others is another one than declared, if by its letters the same
        vouches = ["cert-authority"] if any("cert-authority" in word.lower() for word in words[:start]) else []
        found.setdefault(user, set()).add(" ".join([*vouches, *words[start : start + 2]]))
    return found


@pytest.mark.control("users-01")
@pytest.mark.probe(users.accounts)
def test_only_declared_accounts_have_a_shell(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """The accounts with a shell are the declared people, automation, and root (who cannot log in)."""
    entries = [line.split(":") for line in observation.data.text.splitlines()]
    # none at all is /bin/sh, see passwd(5)
    able = {entry[0] for entry in entries if entry[6] not in users.NO_SHELL} - {"root"}
    note(f"{count(len(able & set(settings.users.people)), 'person', 'people')} and automation")
    wrong = []
    if more := able - _declared(settings):
        wrong.append(f"not declared: {', '.join(sorted(more))}")
    if missing := _declared(settings) - able:
        wrong.append(f"missing: {', '.join(sorted(missing))}")
    roots = {entry[0] for entry in entries if int(entry[2]) == 0}
    if roots != {"root"}:
        wrong.append(f"accounts with root's number: {', '.join(sorted(roots - {'root'}))}")
    judge(wrong)


@pytest.mark.control("users-01")
@pytest.mark.probe(users.shells)
def test_what_opens_no_session_is_debians(observation: Observation, note: Callable[[str], None]) -> None:
    """The programs that accounts without a session have for a shell are those that Debian's packages brought."""
    rows = [line.split() for line in observation.data.text.splitlines()]
    assert rows, "none of the programs that open no session is there"
    judge(
        f"{path} is another program than Debian's: who has it for a shell may get a session"
        for path, is_, *wanted in rows
        if is_ not in wanted
    )
    note(", ".join(path for path, *_ in rows))


@pytest.mark.control("users-01")
@pytest.mark.probe(effective_settings)
def test_ssh_admits_only_declared_accounts(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """Whatever account asks, from wherever, the ssh server's list of those who may log in is the declared one."""
    answers, wrong = effective(observation.data), list[str]()
    assert answers, "sshd -T says nothing"
    for (asking, _), values in answers.items():
        names = set(values.get("allowusers", "").split())
        if not names:
            wrong.append(f"for {asking} sshd names nobody who may log in: all may")
        if others := sorted(names - _declared(settings)):
            wrong.append(f"for {asking} the server admits {', '.join(others)}")
    judge(wrong)
    note(f"asked for {len({asking for asking, _ in answers})} accounts, {len(answers)} ways")


@pytest.mark.control("users-01")
@pytest.mark.probe(users.locks)
def test_no_account_has_a_password(observation: Observation, note: Callable[[str], None]) -> None:
    """No account has a password that could be used, at the console or elsewhere."""
    states = dict(line.split()[:2] for line in observation.data.text.splitlines())
    assert "root" in states, "passwd says nothing of any account"
    # passwd(1), -S: P a usable password, NP none needed, L locked
    usable = sorted(name for name, state in states.items() if state in ("P", "NP"))
    note(f"{len(states)} accounts, all locked for passwords" if not usable else "")
    assert not usable, f"usable without a key: {', '.join(usable)}"


@pytest.mark.control("users-01")
@pytest.mark.probe(users.consoles)
def test_no_console_opens_by_itself(observation: Observation, note: Callable[[str], None]) -> None:
    """No console opens a session for whoever stands there, now or after a restart (agetty(8))."""
    lines = observation.data.text.splitlines()
    assert "asked" in lines, "the machine does not say what waits at its consoles"
    judge(f"a console opens a session unasked: {line}" for line in lines if line != "asked")
    note("none")


@pytest.mark.control("users-02")
@pytest.mark.probe(users.keys)
def test_keys_are_the_declared_ones(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """Each account is opened by exactly its declared keys; no other account by any."""
    wanted = {name: {key_blob(key) for key in person.keys} for name, person in settings.users.people.items()}
    wanted[settings.users.automation.name] = {key_blob(settings.users.automation.key)}
    if checks := settings.users.verification:
        wanted[checks.name] = set(map(key_blob, checks.keys))
    found = _keys(observation)
    note(f"{count(sum(map(len, found.values())), 'key')} for {count(len(found), 'account')}")
    wrong = []
    for name in sorted(set(found) | set(wanted)):
        given, declared = found.get(name, set()), wanted.get(name, set())
        if extra := given - declared:
            wrong.append(f"{name} has {len(extra)} key(s) that the stack file does not name")
        if missing := declared - given:
            wrong.append(f"{name} lacks {len(missing)} of the declared keys")
    judge(wrong)


@pytest.mark.control("users-02")
@pytest.mark.probe(effective_settings)
def test_keys_come_from_nowhere_else(observation: Observation, note: Callable[[str], None]) -> None:
    """The ssh server takes keys from nowhere else: no command, no certificate authority."""
    answers = effective(observation.data)
    assert answers, "sshd -T says nothing"
    judge(
        f"{keyword} is {values.get(keyword, 'not told')} for {user}"
        for (user, _), values in answers.items()
        for keyword, closed in _OTHER_SOURCES.items()
        if values.get(keyword, "not told") != closed
    )
    note(", ".join(f"{keyword} {closed}" for keyword, closed in _OTHER_SOURCES.items()))


@pytest.mark.control("users-02")
@pytest.mark.probe(running)
def test_ssh_goes_by_those_files(observation: Observation, note: Callable[[str], None]) -> None:
    """The ssh server has read its settings since they were last changed: it looks for keys where they say."""
    unit = parsed(observation.data, "what listens for ssh cannot be read")["unit"]
    note("settings read after their last change")
    assert unit["written"] <= unit["read"], (
        "the files were changed after sshd read them: it may take keys from elsewhere"
    )


@pytest.mark.control("users-03")
@pytest.mark.probe(users.sudo)
def test_sudo_is_for_the_declared(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """Those who may use sudo are the declared administrators, automation, and root itself; the checks for users-06."""
    wanted = {name for name, person in settings.users.people.items() if person.sudo}
    wanted |= {settings.users.automation.name}
    if checks := settings.users.verification:
        wanted.add(checks.name)
    found = set(observation.data.text.split()) - {"root"}
    note(f"{count(len(found & set(settings.users.people)), 'person', 'people')} and automation")
    wrong = []
    if more := found - wanted:
        wrong.append(f"sudo without being declared: {', '.join(sorted(more))}")
    if missing := wanted - found:
        wrong.append(f"declared but without sudo: {', '.join(sorted(missing))}")
    judge(wrong)


@pytest.mark.control("users-03")
@pytest.mark.probe(users.groups)
def test_no_back_way_to_root(observation: Observation, note: Callable[[str], None]) -> None:
    """Nobody is in a group whose members can make themselves root."""
    member_of = {line.partition(" ")[0]: set(line.split()[1:]) for line in observation.data.text.splitlines()}
    assert member_of.get("root"), "the machine does not say who is in which group"
    found = {
        group: [user for user, groups in member_of.items() if group in groups and user != "root"]
        for group in _ROOT_GROUPS
    }
    dangerous = {group: users for group, users in found.items() if users}
    note(f"members of {join(_ROOT_GROUPS)}: none" if not dangerous else "")
    assert not dangerous, f"members: {', '.join(f'{group}: {join(users)}' for group, users in dangerous.items())}"


@pytest.mark.control("users-03")
@pytest.mark.probe(users.group_passwords)
def test_nobody_lets_others_into_a_group(observation: Observation, note: Callable[[str], None]) -> None:
    """No group has a password that lets whoever knows it in, or an account that may take in others (gshadow(5))."""
    rows = [[*line.split(" "), ""] for line in observation.data.text.splitlines()]
    assert any(name == "root" for name, *_ in rows), "the machine does not say which groups it has"
    judge(
        f"whoever knows its password gets into the group {name}" if word == "password" else f"{who} may let others in"
        for name, word, who, *_ in rows
        if word == "password" or who
    )
    note(f"{len(rows)} groups")


@pytest.mark.control("users-03")
@pytest.mark.probe(users.roots_own)
def test_no_file_makes_anybody_root(observation: Observation, note: Callable[[str], None]) -> None:
    """No program but Debian's own gives its caller more rights, and nobody but root may write what root goes by.

    Those programs are known by name, and are as their packages brought them.
    """
    seen = parsed(observation.data, "the machine does not say which programs run as root for others")
    wrong = []
    for path, found in sorted(seen["raised"].items()):
        if path not in (_CAPABLE if found["capable"] else _RAISED):
            wrong.append(f"{path} gives whoever starts it rights ({found['mode']})")
        elif not found["as_brought"]:
            wrong.append(f"{path} gives whoever starts it rights, and is another program than its package's")
    assert "/usr/bin/sudo" in seen["raised"], "not even sudo was found"
    wrong += [f"{path}: {why}" for path, why in sorted(seen["writable"].items())]
    judge(wrong)
    note(f"{len(seen['raised'])} programs of Debian's; {seen['seen']} files looked at")


@pytest.mark.control("users-04")
@pytest.mark.probe(users.accounts)
def test_accounts_of_who_left_are_gone(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """There is no account of anybody who left."""
    _somebody_left(settings)
    names = {line.partition(":")[0] for line in observation.data.text.splitlines()}
    assert "root" in names, "the machine does not say which accounts it has"
    left = names & set(settings.users.removed)
    note(f"{len(settings.users.removed)} looked for, {len(left)} found")
    assert not left, f"still there: {', '.join(sorted(left))}"


@pytest.mark.control("users-04")
@pytest.mark.probe(users.left_behind)
def test_nothing_waits_for_who_left(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """No right, group, key or timed job stands under a name of who left, and no program runs without an account."""
    _somebody_left(settings)
    found: list[str] = parsed(observation.data, "what is left of people cannot be read")
    judge(found)
    note("no right, group or job under their names, and no program without an account")


@pytest.mark.control("users-04")
@pytest.mark.probe(users.removed_logins)
def test_who_left_is_refused(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """A login under the name of anybody who left is refused."""
    _somebody_left(settings)
    judge(f"{name} was not refused" for name, attempt in observation.data.items() if not refused(attempt))
    note(f"{count(len(observation.data), 'login')} tried: Permission denied")


@pytest.mark.control("users-05")
@pytest.mark.probe(users.keys)
def test_automation_key_opens_one_account(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """The automation key opens the automation account and no other."""
    automation = settings.users.automation
    owners = {user for user, keys in _keys(observation).items() if key_blob(automation.key) in keys}
    note(f"opens {count(len(owners), 'account')}")
    assert owners == {automation.name}, f"the automation key opens: {', '.join(sorted(owners)) or 'nothing'}"


@pytest.mark.control("users-05")
@pytest.mark.probe(effective_settings)
def test_automation_forwards_nothing(
    observation: Observation, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    """A session of the automation account cannot forward connections, agents or displays."""
    name = settings.users.automation.name
    answers = {address: values for (user, address), values in effective(observation.data).items() if user == name}
    assert STRANGER in answers, "sshd -T says nothing of the automation account"
    judge(
        f"{keyword} is {values.get(keyword)} for {name}"
        for values in answers.values()
        for keyword in ("allowtcpforwarding", "allowagentforwarding", "x11forwarding", "allowstreamlocalforwarding")
        if values.get(keyword) != "no" and values.get("disableforwarding") != "yes"
    )
    note("tcp, agent, x11 and socket forwarding: no")


def _somebody_left(settings: Settings) -> None:
    if not settings.users.removed:
        not_provable_here("the stack file names nobody who left")
