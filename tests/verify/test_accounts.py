"""What accounts may do: by trying it as one that no machine has, and by what its own accounts have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bastide.layout.accounts import BANNERS, FILE_BITS, HOME_BITS, MODES, SU_GROUP
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import accounts
from tests.verify.probes.updates import parsed
from tests.verify.probes.world import Observation

_NOT_SAID = "the machine does not say what an account may do"
# pam(3): what a module that refuses returns is any number but this
_YES = 0
_SHELLS = {"login": "a login shell", "other": "another shell"}
# what would tell which system this is, and how old
_VERSION = re.compile(r"debian|linux|\b\d+\.\d+", re.IGNORECASE)


def _tried(observation: Observation, part: str) -> Any:
    return parsed(observation.data, _NOT_SAID)[part]


def _mode_of(settings: Settings) -> str:
    return f"{0o666 & ~int(settings.accounts.umask, 8):o}"


@pytest.mark.control("accounts-01")
@pytest.mark.probe(accounts.tried)
def test_new_files_are_closed(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """A session by PAM and each kind of shell begin with the declared mask, and a new file has its mode."""
    found, mask = _tried(observation, "session"), f"0{settings.accounts.umask}"
    wrong = []
    if found["pam"] != f"{mask} {_mode_of(settings)}":
        wrong.append(f"a session has the mask and makes files of the mode: {found['pam']}")
    wrong += [
        f"{name} begins with {found[kind]}" for kind, name in _SHELLS.items() if f"mask={mask}" not in found[kind]
    ]
    note(f"mask and mode of a new file: {found['pam']}")
    judge(wrong)


@pytest.mark.control("accounts-01")
@pytest.mark.probe(accounts.greeted)
def test_a_session_by_ssh_has_the_mask(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """What logs in by ssh has it, too."""
    if not observation.data.session:
        note("the account of the checks gets no session")
        return
    said = observation.data.login.stdout.strip()
    note(f"umask {said}")
    assert said == f"0{settings.accounts.umask}", (
        f"a session by ssh has the mask {said or 'of nobody: it did not begin'}"
    )


@pytest.mark.control("accounts-01")
@pytest.mark.probe(accounts.seen)
def test_homes_are_closed(observation: Observation, note: Callable[[str], None]) -> None:
    """No home and no file that a shell reads at its start is open to others."""
    homes = parsed(observation.data, _NOT_SAID)["homes"]
    assert "/root" in homes, "not even root's home was found"
    note(f"{len(homes)} homes and files in them")
    judge(
        f"{path} has the mode {mode:04o}"
        for path, (mode, *_) in homes.items()
        if mode & (FILE_BITS if "/." in path else HOME_BITS)
    )


@pytest.mark.control("accounts-02")
@pytest.mark.probe(accounts.tried)
def test_wrong_passwords_lock(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """After the declared number of wrong passwords the right one is refused, and not before; a key is not."""
    found, tries = _tried(observation, "locks"), settings.accounts.password_tries
    wrong = [f"the right password is refused {when} (PAM says {found[key]})" for key, when in (
        ("before", "from the start"), ("still", f"after {tries - 1} wrong ones")) if found[key] != _YES]  # fmt: skip
    if _YES in found["wrong"]:
        wrong.append("a wrong password is taken")
    if found["after"] == _YES:
        wrong.append(f"after {tries} wrong passwords the right one is taken all the same")
    if found["key"] != _YES:
        wrong.append(f"a key is refused, too (PAM says {found['key']})")
    note(f"right password taken before, refused after {tries} wrong ones; an ssh key let in all the time")
    judge(wrong)


@pytest.mark.control("accounts-03")
@pytest.mark.probe(accounts.tried)
def test_weak_passwords_are_refused(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """PAM takes a strong password as a new one, and neither a weak one nor one that was there before."""
    found = _tried(observation, "passwords")
    wrong = [f"PAM takes a weak password: {what}" for what, said in found["weak"].items() if said == _YES]
    if any(said != _YES for said in (*found["strong"], *found["last"])):
        wrong.append("PAM refuses a strong password, so that its refusals prove nothing")
    if found["again"] == _YES:
        wrong.append("PAM takes a password that was there before")
    kinds = ", ".join(found["weak"])
    note(f"refused: {kinds}, an old one; taken: {settings.accounts.password_length} signs of four kinds")
    judge(wrong)


@pytest.mark.control("accounts-03")
@pytest.mark.probe(accounts.tried)
def test_age_keeps_no_key_out(observation: Observation, note: Callable[[str], None]) -> None:
    """Where the password, or the lack of one, is years too old, sessions by a key, sudo and jobs go on."""
    found = _tried(observation, "ages")
    note(f"{', '.join(found)}: let in with an age of years")
    judge(f"{service} is refused for the age of a password that nobody has" for service, said in found.items() if said)


@pytest.mark.control("accounts-04")
@pytest.mark.probe(accounts.tried)
def test_su_is_for_nobody(observation: Observation, note: Callable[[str], None]) -> None:
    """Whoever knows root's password does not become root by su; in the group that may, he would."""
    found = _tried(observation, "su")
    wrong = []
    if found["plain"].endswith("0") and found["plain"].split()[-1] == "0":
        wrong.append("whoever knows root's password becomes root by su")
    if found["member"].split()[-1:] != ["0"]:
        wrong.append(f"nobody at all can use su, so that the refusal proves nothing: {found['member'][-80:]}")
    note(f"su with root's right password: {found['plain'].splitlines()[-1] if found['plain'] else 'nothing'}")
    judge(wrong)


@pytest.mark.control("accounts-04")
@pytest.mark.probe(accounts.seen)
def test_nobody_is_in_its_group(observation: Observation, note: Callable[[str], None]) -> None:
    """The group whose members may use su is there, and empty."""
    members = parsed(observation.data, _NOT_SAID)["members"]
    assert members is not None, f"there is no group {SU_GROUP}: PAM takes another one"
    note(f"{SU_GROUP}: nobody")
    judge(f"{name} may use su" for name in members)


@pytest.mark.control("accounts-05")
@pytest.mark.probe(accounts.tried)
def test_sudo_is_logged_on_a_terminal_of_its_own(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """An administrator's sudo has a line in its log, another terminal than his, the mask; and none without one."""
    found = _tried(observation, "sudo")
    wrong = list(_sudo_wrong(found, settings))
    note(f"terminal, sudo's terminal, mask: {' '.join(found['terminal'])}; log {found['mode']}")
    judge(wrong)


def _sudo_wrong(found: dict[str, Any], settings: Settings) -> Iterator[str]:
    own, others, mask = (*found["terminal"], "", "", "")[:3]
    if not own.startswith("/dev/") or not others.startswith("/dev/"):
        yield f"sudo does not work on a terminal: {' '.join(found['terminal'])[:120]}"
    elif own == others:
        yield "what sudo starts has its caller's own terminal"
    elif mask != f"0{settings.accounts.umask}":
        yield f"what sudo starts has the mask {mask}"
    if found["bare"].split()[-1:] == ["0"]:
        yield "sudo works without a terminal"
    if not found["logged"]:
        yield "sudo wrote no line of what it ran"
    elif found["mode"] != "0o600":
        yield f"sudo's log has the mode {found['mode']}"
    yield from (f"{name} can use sudo no more" for name, code in found["programs"].items() if code)
    said = "\n".join(found["defaults"])
    for what, pattern in {
        "sudo takes programs from the folder at hand": r"^Ignore '\.' in \$PATH$",
        "a password counts for longer than five minutes": r"^Authentication timestamp timeout: [0-5]\.0 minutes$",
        "a password may be tried more often than declared": (
            rf"^Number of tries to enter a password: [1-{settings.accounts.password_tries}]$"
        ),
    }.items():
        if not re.search(pattern, said, re.MULTILINE):
            yield what


@pytest.mark.control("accounts-06")
@pytest.mark.probe(accounts.tried)
def test_idle_shells_end(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """A shell that somebody types into has the declared time and no way to change it; a program's has none."""
    found, seconds = _tried(observation, "session"), settings.accounts.idle_minutes * 60
    wrong = []
    for kind, name in _SHELLS.items():
        if f"idle={seconds} " not in found[kind]:
            wrong.append(f"{name} does not end after {seconds} seconds without a key: {found[kind]}")
        if "changed to" in found[kind]:
            wrong.append(f"whoever types into {name} can change that")
    if found["program"] != "idle=none":
        wrong.append(f"a program's shell would end as well: {found['program']}")
    note(f"{seconds} seconds, not to be changed; a program's shell: none")
    judge(wrong)


@pytest.mark.control("accounts-07")
@pytest.mark.probe(accounts.tried)
def test_jobs_are_for_the_declared(observation: Observation, note: Callable[[str], None]) -> None:
    """Whoever is not declared is refused by crontab and at, where they are; the declared are not."""
    found = _tried(observation, "jobs")
    wrong = []
    for program, asked in found.items():
        (stranger, (code, said)), *declared = asked.items()
        if code == 0 or not re.search("not allowed|do not have permission", said):
            wrong.append(f"{program} lets an account plan jobs that nobody named ({stranger}: {said or 'no refusal'})")
        wrong += [
            f"{program} refuses {name}, who is declared"
            for name, (_, words) in declared
            if re.search("not allowed|do not have permission", words)
        ]
    note(
        "; ".join(f"{program}: {next(iter(asked.values()))[1]}" for program, asked in found.items()) or "none is there"
    )
    judge(wrong)


@pytest.mark.control("accounts-07")
@pytest.mark.probe(accounts.seen)
def test_jobs_are_roots_own(observation: Observation, note: Callable[[str], None]) -> None:
    """What cron reads for root, and what new homes are made of, has the modes that it is to have."""
    modes = parsed(observation.data, _NOT_SAID)["modes"]
    note(f"{len(modes)} files and folders")
    judge(
        f"{path} is {mode:04o} of {owner}:{group}"
        for path, (mode, owner, group) in modes.items()
        if mode & ~MODES[path] or owner or group
    )


@pytest.mark.control("accounts-08")
@pytest.mark.probe(accounts.greeted)
def test_ssh_shows_the_banner(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The ssh server shows the declared text before it asks for a key."""
    lines = [line.strip() for line in observation.data.login.stderr.splitlines()]
    missing = [line for line in settings.accounts.banner.splitlines() if line.strip() and line.strip() not in lines]
    note(settings.accounts.banner.splitlines()[0])
    assert not missing, "the ssh server does not show the declared text before a login"


@pytest.mark.control("accounts-08")
@pytest.mark.probe(accounts.seen)
def test_consoles_show_the_banner(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """Consoles show the declared text and nothing else: neither the system's name nor a version."""
    banners = parsed(observation.data, _NOT_SAID)["banners"]
    wrong = [f"{path} is not there" for path in BANNERS if path not in banners]
    wrong += [
        f"{path} is not the declared text" for path, text in banners.items() if text.strip() != settings.accounts.banner
    ]
    wrong += [
        f"{path} tells which system this is"
        for path, text in banners.items()
        if _VERSION.search(text) and not _VERSION.search(settings.accounts.banner)
    ]
    note(", ".join(banners))
    judge(wrong)
