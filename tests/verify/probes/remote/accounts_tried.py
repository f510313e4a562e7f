"""Runs on a machine as root: what an account may do, tried with one that the machine never has.

It lives in a mount namespace of its own, with copies of /etc, homes and counters, and is gone with it: no password,
account or line of the journal is the machine's. Only sudo's log gets its lines. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # sent along in front of this (`script`)
    from tests.verify.probes.remote.pam import pam

_NAME, _NUMBER = "bastide-probe", 59_999
_NEW_MOUNTS = 0x00020000  # unshare(2), CLONE_NEWNS
_SIGNS = ("abdgkmpxz", "BDFHKMRTX", "24680", "#%+=:")


def tried(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: tries (wrong passwords that lock), length (of a password), group (for su), log (of sudo), programs
    (accounts that programs log in as), jobs (people who may plan some).

    Returns what was found, by a word each.
    """
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        _apart(Path(folder))
        strong = _password(plan["length"])
        found: dict[str, Any] = {"passwords": _passwords(plan["length"], strong)}
        found["locks"] = _locks(plan["tries"], strong)
        found["ages"] = _ages()
        found["su"] = _su(plan["group"], strong)
        found["sudo"] = _sudo(plan["log"], plan["programs"])
        found["session"] = _session()
        found["jobs"] = _jobs(plan["jobs"])
        # a folder in which something is mounted goes with the namespace alone
        _run("umount", "-R", folder)
    return found


def _apart(folder: Path) -> None:
    if ctypes.CDLL(None).unshare(_NEW_MOUNTS):
        raise OSError("no mount namespace of its own")
    _must("mount", "--make-rprivate", "/")
    _must("mount", "-t", "tmpfs", "-o", "mode=0755,size=64m", "tmpfs", str(folder))
    _must("cp", "-a", "/etc", str(folder / "etc"))
    for name in ("home", "faillock", "silent"):
        (folder / name).mkdir(mode=0o755)
    Path("/run/faillock").mkdir(exist_ok=True)
    places = {"etc": "/etc", "home": "/home", "faillock": "/run/faillock"}
    for name, place in places.items():
        _must("mount", "--bind", str(folder / name), place)
    # syslog(3) finds nobody there
    for place in {os.path.realpath("/dev/log"), "/run/systemd/journal/socket", "/run/systemd/journal/stdout"}:
        if Path(place).exists():
            (folder / "silent" / "nobody").touch()
            _must("mount", "--bind", str(folder / "silent" / "nobody"), place)
    _line("/etc/passwd", f"{_NAME}:x:{_NUMBER}:{_NUMBER}::/home/{_NAME}:/bin/bash")
    _line("/etc/group", f"{_NAME}:x:{_NUMBER}:")
    _line("/etc/gshadow", f"{_NAME}:!::")
    _line("/etc/shadow", f"{_NAME}:*:{20_000}:0:99999:7:::")
    home = Path(f"/home/{_NAME}")
    home.mkdir(mode=0o700)
    os.chown(home, _NUMBER, _NUMBER)


def _passwords(length: int, strong: str) -> dict[str, Any]:
    """Which of these PAM takes for a new one: 0 is yes."""
    weak = {
        "one sign too few": _password(length - 1),
        "letters of one kind": "".join(secrets.choice("bdfghjkmpqz") for _ in range(length + 8)),
        "one sign again and again": f"{_password(length)}aaaaa",
        "the account's name": f"{_NAME}{_password(length - len(_NAME) + 4)}",
    }
    found = {what: pam("passwd", _NAME, "chauthtok", word) for what, word in weak.items()}
    other = _password(length)
    return {
        "weak": found,
        "strong": [pam("passwd", _NAME, "chauthtok", word) for word in (strong, other)],
        "again": pam("passwd", _NAME, "chauthtok", strong),
        "last": [pam("login", _NAME, "authenticate", other), pam("passwd", _NAME, "chauthtok", _password(length))],
    }


def _locks(tries: int, strong: str) -> dict[str, Any]:
    """What the right password gives before and after so many wrong ones, and what a key gives then."""
    right = f"{strong}+z"
    first = pam("passwd", _NAME, "chauthtok", right)
    before = pam("login", _NAME, "authenticate", right)
    wrong = [pam("login", _NAME, "authenticate", f"{right}{number}") for number in range(tries - 1)]
    still = pam("login", _NAME, "authenticate", right)
    wrong += [pam("login", _NAME, "authenticate", f"{right}{number}") for number in range(tries)]
    after = pam("login", _NAME, "authenticate", right)
    # a session by a key asks PAM for nothing but this (sshd_config(5), UsePAM)
    key = pam("sshd", _NAME, "acct_mgmt")
    _run("faillock", "--user", _NAME, "--reset")
    return {"new": first, "before": before, "still": still, "wrong": wrong, "after": after, "key": key}


def _ages() -> dict[str, int]:
    """What PAM says of an account whose password, or the lack of one, is long too old."""
    shadow = Path("/etc/shadow")
    kept = shadow.read_text(encoding="utf-8")
    old = f"{_NAME}:*:10000:0:365:7:30::"
    shadow.write_text("\n".join(old if line.startswith(f"{_NAME}:") else line for line in kept.splitlines()) + "\n")
    found = {service: pam(service, _NAME, "acct_mgmt") for service in ("sshd", "sudo", "cron")}
    shadow.write_text(kept)
    return found


def _su(group: str, strong: str) -> dict[str, Any]:
    """Whether somebody with root's password becomes root by su: as he is, and in the group."""
    secret = f"{strong}-r"
    line = f"root:{secret}\n"
    subprocess.run(["chpasswd", "--crypt-method", "SHA512"], input=line, text=True, check=True, capture_output=True)
    plain = _as(_NAME, "su", "-s", "/bin/sh", "-c", "id -u", "root", input_=f"{secret}\n")[1]
    _run("gpasswd", "--add", _NAME, group)
    member = _as(_NAME, "su", "-s", "/bin/sh", "-c", "id -u", "root", input_=f"{secret}\n")[1]
    _run("gpasswd", "--delete", _NAME, group)
    _run("faillock", "--user", "root", "--reset")
    return {"plain": plain.strip(), "member": member.strip()}


def _sudo(log: str, programs: list[str]) -> dict[str, Any]:
    """An administrator's sudo, and that of the accounts that programs log in as."""
    rule = Path("/etc/sudoers.d/zz-probe")
    rule.write_text(f"{_NAME} ALL=(ALL:ALL) NOPASSWD: ALL\n")
    rule.chmod(0o440)
    mark = secrets.token_hex(8)
    on_terminal = _typed(f"tty; sudo -n tty; sudo -n sh -c umask; sudo -n true {mark}")
    bare = _as(_NAME, "sudo", "-n", "id", "-u")
    rule.unlink()
    try:
        logged = any(mark in line for line in Path(log).read_text(encoding="utf-8").splitlines())
        mode = oct(Path(log).stat().st_mode & 0o7777)
    except OSError:
        logged, mode = False, ""
    return {
        "terminal": re.findall(r"/dev/pts/\d+|\b0\d{3}\b", on_terminal),
        "bare": bare[1].strip(),
        "logged": logged,
        "mode": mode,
        "programs": {name: _as(name, "sudo", "-n", "-l")[0] for name in programs},
        "defaults": _run("sudo", "-V")[1].partition("Environment variables")[0].splitlines(),
    }


def _session() -> dict[str, str]:
    """What a session begins with: by PAM, in a shell that somebody types into, and a file that is made in it."""
    make = f"umask; : > /home/{_NAME}/made; stat -c %a /home/{_NAME}/made"
    by_pam = _run("su", "-s", "/bin/sh", "-c", make, _NAME)[1].split()
    shells = {}
    for what, options in {"login": "-lic", "other": "-ic"}.items():
        script = 'echo "idle=$TMOUT mask=$(umask)"; TMOUT=0; echo "changed to $TMOUT"'
        shells[what] = " ".join(_as(_NAME, "bash", options, script)[1].split())
    program = _as(_NAME, "bash", "-c", 'echo "idle=${TMOUT-none}"')[1].strip()
    return {"pam": " ".join(by_pam), **shells, "program": program}


def _jobs(people: list[str]) -> dict[str, Any]:
    """Who may plan jobs: somebody without a word for it, and those who may."""
    found: dict[str, Any] = {}
    for program in ("crontab", "at"):
        if Path(f"/usr/bin/{program}").exists():
            asked = {name: _as(name, program, "-l") for name in (_NAME, *people)}
            found[program] = {name: [code, said.strip()[-200:]] for name, (code, said) in asked.items()}
    return found


def _password(length: int) -> str:
    """One that has no two signs of a kind beside each other, so that no rule of repetition can meet it."""
    return "".join(secrets.choice(_SIGNS[number % len(_SIGNS)]) for number in range(length))


def _line(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as stream:
        stream.write(f"{text}\n")


def _typed(line: str) -> str:
    """What a shell prints on a terminal of its own."""
    return _as(_NAME, "script", "-qec", line, "/dev/null")[1]


def _as(account: str, *argv: str, input_: str = "") -> tuple[int, str]:
    words = ("setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups", "--reset-env", "--", *argv)
    return _run(*words, input_=input_)


def _run(*argv: str, input_: str = "") -> tuple[int, str]:
    """The exit code of a program, and all that it printed; it has no terminal."""
    done = subprocess.run(
        argv,
        input=input_,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def _must(*argv: str) -> None:
    code, said = _run(*argv)
    if code:
        raise OSError(f"{' '.join(argv)}: {said.strip()}")


if __name__ == "__main__":
    print(json.dumps(tried(json.loads(sys.argv[1]))))
