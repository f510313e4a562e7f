"""What a machine says of its part of the mesh: a script that runs on it."""

from __future__ import annotations

from shlex import quote

from bastide.layout.wireguard import INTERFACE

# Public keys and what each may send as; who can read the files with the private one. Where a person's device is stays
# there: evidence is for everybody.
_STATE = f"""
import grp, json, os, pwd, subprocess
def shown(word):
    done = subprocess.run(["wg", "show", "{INTERFACE}", word], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
files = {{}}
for folder, _, names in os.walk("/etc/wireguard"):
    for path in [folder, *(os.path.join(folder, name) for name in names)]:
        info = os.stat(path)
        owners = (pwd.getpwuid(info.st_uid).pw_name, grp.getgrgid(info.st_gid).gr_name)
        files[path] = [oct(info.st_mode & 0o777), *owners]
peers = dict(line.split("\\t", 1) for line in shown("allowed-ips").splitlines())
program = subprocess.run(["pgrep", "-x", "wireguard-go"], capture_output=True).returncode == 0
print(json.dumps({{"key": shown("public-key"), "files": files, "kernel": not program,
    "peers": {{key: sorted(text.split()) for key, text in peers.items()}}}}))
"""


def state_command() -> str:
    """The shell command that prints the state as JSON."""
    return f"python3 -I -c {quote(_STATE)}"
