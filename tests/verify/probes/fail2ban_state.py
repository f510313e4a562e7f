"""What fail2ban says of its jails, and what the kernel and the database hold of it: a script that runs on a machine."""

from __future__ import annotations

import json
from shlex import quote
from typing import Any

from bastide.layout.fail2ban import SOCKET

JAIL = "sshd"
# Facts about bans, never the banned addresses themselves: evidence is for everybody. The server is asked over its own
# socket, the kernel by nft, the database by SQL; a ban that is being made just now gets two seconds to be everywhere.
_STATE = """
import ipaddress, json, pickle, socket, sqlite3, subprocess, sys, time
TEST = sys.argv[1:]
END = b"<F2B_END_COMMAND>"
def told(*words):
    line.sendall(pickle.dumps(list(words)) + END); data = b""
    while not data.endswith(END):
        data += line.recv(65536) or END
    code, answer = pickle.loads(data[:-len(END)])
    return None if code else answer
def kept(path):
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return {(jail, ip) for jail, ip in db.execute("select jail, ip from bips")}
    except sqlite3.Error: return set()
def dropped(name):
    # what rules drop that come before any firewall and match nothing but the source: {"ip": addresses, "ip6": ...}
    done = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True)
    rules = json.loads(done.stdout)["nftables"] if done.returncode == 0 else []
    chains = {(c["family"], c["table"], c["name"]): c for r in rules if (c := r.get("chain")) and "hook" in c}
    sets = {(s["table"], s["name"]): {str(e) for e in s.get("elem", [])} for r in rules if (s := r.get("set"))}
    found = {}; open_ = set()
    for rule in (r["rule"] for r in rules if "rule" in r):
        chain = chains.get((rule["family"], rule["table"], rule["chain"]))
        if not chain or chain["hook"] not in ("prerouting", "input") or chain["prio"] >= 0: continue
        parts = [part for part in rule["expr"] if "counter" not in part]
        # whoever a rule before lets go is not dropped by those behind it
        at = (rule["family"], rule["table"], rule["chain"])
        if at in open_: continue
        goes = ("accept", "return", "goto", "vmap", "jump", "queue")
        if any(word in part for part in parts for word in goes): open_.add(at)
        match = parts[0].get("match", {}) if len(parts) == 2 and "drop" in parts[1] else {}
        payload = match.get("left", {}).get("payload", {}); right = str(match.get("right")).lstrip("@")
        if payload.get("field") == "saddr" and match["op"] == "==" and right.endswith(f"-set-{name}"):
            found.setdefault(payload["protocol"], set()).update(sets.get((rule["table"], right), set()))
    return found
def within(word, networks):
    try: address = ipaddress.ip_address(word)
    except ValueError: return False
    return any(address in one for one in networks)
def bans(name, path):
    end = time.monotonic() + 2
    while True:
        banned = {str(address) for address in told("get", name, "banip")}
        drops = dropped(name); held = set().union(*drops.values())
        stored = {ip for jail, ip in kept(path) if jail == name} if path else set()
        if banned <= held & stored and set(TEST) <= banned or time.monotonic() > end: break
        time.sleep(0.1)
    spared = [ipaddress.ip_network(word, strict=False) for word in told("get", name, "ignoreip")]
    ours = [a for a in banned | held if within(a, spared)]
    return {"banned": len(banned), "not_dropped": len(banned - held), "not_kept": len(banned - stored),
            "spared": len(ours), "drops": sorted(drops), "test": [a in banned & held & stored for a in TEST]}
def out(*argv): return subprocess.run(argv, capture_output=True, text=True).stdout.strip()
line = socket.socket(socket.AF_UNIX); line.settimeout(5)
try: line.connect(SOCKET)
except OSError: print("null"); raise SystemExit
path = told("get", "dbfile")
keys = ("ignoreip", "ignorecommand", "maxretry", "findtime", "bantime", "bantime.increment", "bantime.maxtime",
    "bantime.formula", "bantime.multipliers", "bantime.factor", "bantime.rndtime")
names = dict(told("status"))["Jail list"].replace(",", " ").split()
jails = {name: {key: told("get", name, key) for key in keys} | bans(name, path) for name in names}
print(json.dumps({"jails": jails, "dbfile": path, "dbpurgeage": told("get", "dbpurgeage"),
    "filesystem": out("stat", "-f", "-c", "%T", path) if path else "",
    "boot": out("systemctl", "is-enabled", "fail2ban.service"),
    "flusher": out("systemctl", "is-enabled", "nftables.service")}))
"""


def state_command() -> str:
    """The shell command that prints the state as JSON; `null` when fail2ban does not answer.

    Its script's words are addresses that may be banned for a moment: what is said of them is `test`.
    """
    return f'python3 -I -c {quote(f"SOCKET = {SOCKET!r}{_STATE}")} "$@"'


def parse(text: str) -> dict[str, Any] | None:
    """The state from what `state_command` printed."""
    try:
        found: dict[str, Any] | None = json.loads(text)
    except ValueError:
        raise AssertionError("the state of fail2ban cannot be read") from None
    return found
