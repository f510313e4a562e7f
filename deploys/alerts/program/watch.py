"""One round after the other: look at this machine, read what the others show, tell what is this machine's to tell.

python3 -I /usr/local/lib/bastide/alerts watch     for ever, under systemd
python3 -I /usr/local/lib/bastide/alerts test      one message through every way, and what became of it, as JSON
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from . import channels as out
from .channels import ERRORS, Message, reason
from .cluster import CLUSTER, ClusterWatch, View, own_view, silent_patroni, view_of
from .findings import Finding, Seen, collect, text
from .messages import digest_of, message_of
from .peers import Page, Peers, Publisher, findings_of, told_of
from .telling import SILENT, Due, Told, due, forget, merge, noted, teller
from .ways import HEARTBEAT, Ways

CONFIG = Path("/etc/bastide/alerts.json")
ROUND_SECONDS = 15
# a machine that has not answered for three rounds tells nothing: the next one does
_AWAY_SECONDS = 3 * ROUND_SECONDS
# what nobody has told for so long its own machine tells
_UNTOLD_SECONDS = 180
# more than so many at once become one message
_MOST_MESSAGES = 5


class Watch:
    """What one machine knows, round by round. All that must outlive it is in `memory`."""

    def __init__(self, config: dict[str, Any], secrets: dict[str, str], memory: Path) -> None:
        self._config, self._path = config, memory
        self.memory = _json(memory)
        self._began = time.monotonic()
        trusted = out.trust(config["certificate"])
        known = self.memory.setdefault("channels", {})
        self._ways = Ways(out.channels(config, secrets, trusted), secrets.get("heartbeat_url", ""), trusted, known)
        self._peers = Peers(config["peers"], config["port"])
        # since when the others can read what is wrong here
        self._shown: dict[str, float] = {}
        self._publisher = Publisher(config["address"], config["port"]) if config["port"] else None
        wanted = config["cluster"]
        self._sites: list[str] = wanted["sites"] if wanted else []
        self._asks: str = wanted["socket"] if wanted else ""
        since = self.memory.setdefault("cluster", {})
        self._cluster = ClusterWatch(self._sites, wanted["most_behind_mb"], since) if wanted else None
        # what this machine's own Patroni said last
        self._view: View | None = None

    def round(self) -> None:
        """One round; raises nothing but what is a fault of this program."""
        now, me = time.time(), self._config["name"]
        self._ways.check(now)
        looks = {"database": self._look_at_database} if self._asks else {}
        findings = {me: collect(self._config, self.memory, now, looks) | self._ways.broken(now)}
        self._show(findings[me], now)
        pages = self._peers.look()
        shown = {name: told_of(name, page) for name, page in pages.items()}
        repeat = self._config["repeat_hours"] * 3600
        everybody = [*self._config["order"], CLUSTER]
        told = forget(merge(self.memory.get("told", {}), shown.values()), now, repeat, everybody)
        for name in self._config["peers"]:
            findings[name] = findings_of(pages.get(name, {})) | self._silent(name, pages, now)
        of_cluster = self._of_cluster(pages, now)
        findings[CLUSTER] = of_cluster or {}
        able = {name for name in self._config["peers"] if self._is_able(name, pages)} | (
            {me} if self._ways.able else set()
        )
        mine: list[Due] = []
        for name, found in findings.items():
            # only a page says all that a machine has
            complete = name == me or (name in pages and self._config["port"] is not None)
            complete = complete if name != CLUSTER else of_cluster is not None
            waiting = due(name, found, told, now, repeat, complete=complete)
            # who tells is not known before it is known who is there
            mine += [one for one in waiting if not self.finding_the_others and self._is_mine(one, able)]
        self.memory["told"] = told
        self._tell(mine, findings[me], now)
        self._heartbeat(able, now)
        self.memory["round"] = now
        self._show(findings[me], now)
        _write(self._path, self.memory)

    @property
    def finding_the_others(self) -> bool:
        """Whether it has just begun, and does not know yet who is there."""
        unknown = set(self._config["peers"]) - self._peers.ever
        return bool(unknown) and time.monotonic() - self._began < _AWAY_SECONDS

    def _is_able(self, name: str, pages: dict[str, Page]) -> bool:
        """Of one that missed a look or two: it was, a moment ago."""
        here = name in self._peers.ever and self._peers.silence(name) < _AWAY_SECONDS
        return here and pages.get(name, {}).get("able", True) is True

    def _is_mine(self, one: Due, able: set[str]) -> bool:
        me, order = self._config["name"], self._config["order"]
        if one.machine in (me, CLUSTER) and self._config["port"] is None:
            return True  # nobody else can read what is wrong here
        chosen = teller(order, one.machine, able)
        if not chosen:
            # nobody else can: whoever it is about tells, and if nobody can at all, everybody tries
            return self._ways.able is False or one.machine == me
        waited = time.monotonic() - self._shown.get(one.key, time.monotonic())
        late = one.machine == me and one.state == "alert" and waited > _UNTOLD_SECONDS
        return chosen == me or late

    def _look_at_database(self) -> list[Seen]:
        self._view = None
        self._view = own_view(self._asks)
        return silent_patroni(self._view)

    def _of_cluster(self, pages: dict[str, Page], now: float) -> dict[str, Finding] | None:
        """What is wrong with the database cluster; None where nobody can say, and without one."""
        views = {name: view for name in self._sites if name in pages and (view := view_of(pages[name]))}
        if self._view:
            views[self._config["name"]] = self._view
        return self._cluster.findings(views, now) if self._cluster else None

    def _silent(self, name: str, pages: dict[str, Page], now: float) -> dict[str, Finding]:
        silence = self._peers.silence(name)
        if silence < self._config["silent_minutes"] * 60:
            return {}
        others = [other for other, page in pages.items() if page.get("sees", {}).get(name) is True]
        what = "does not answer: it is off, cut off, or its alerts do not run"
        if others:
            these = ", ".join(map(text, others))
            what = f"does not answer {self._config['name']}, but {these}: a way between them is cut"
        next_ = "look at the provider's console; docs/how-to/lose-a-server.md"
        return {SILENT: {"what": what, "since": now - silence, "next": next_, "event": False, "last": now}}

    def _tell(self, mine: list[Due], own: dict[str, Finding], now: float) -> None:
        told: Told = self.memory["told"]
        if not mine:
            return
        stack, me = self._config["stack"], self._config["name"]
        messages = [(message_of(one, stack, me), [one]) for one in mine]
        if len(mine) > _MOST_MESSAGES:
            messages = [(digest_of(mine, stack, me), mine)]
        for message, about in messages:
            if self._ways.send(message, now):
                for one in about:
                    noted(told, one, now, self._config["repeat_hours"] * 3600)
                    print(f"<5>told: {message_of(one, stack, me).subject}", flush=True)
                # at once: should this machine fail now, the next one repeats nothing, and neither does this one
                self._show(own, now)
                _write(self._path, self.memory)

    def _heartbeat(self, able: set[str], now: float) -> None:
        """Called by the first machine that can tell, so not while nobody can: its silence is the alarm."""
        minutes = self._config["heartbeat_minutes"]
        first = next((name for name in self._config["order"] if name in able), "")
        if first != self._config["name"]:
            self._ways.no_heartbeat()
        elif minutes and not self.finding_the_others:
            self._ways.heartbeat(minutes, now)

    def _show(self, findings: dict[str, Finding], now: float) -> None:
        self._shown = {key: self._shown.get(key, time.monotonic()) for key in findings}
        if self._publisher:
            sees = {name: self._peers.silence(name) < _AWAY_SECONDS for name in self._peers.ever}
            told = self.memory.get("told", {})
            page = {"version": 1, "name": self._config["name"], "at": now, "able": self._ways.able, "sees": sees}
            self._publisher.show({**page, "findings": findings, "told": told, "cluster": self._view})


def watch(config: dict[str, Any], secrets: dict[str, str], memory: Path) -> None:
    """For ever. A round that hangs is ended by systemd's watchdog."""
    watching = Watch(config, secrets, memory)
    while True:
        began = time.monotonic()
        watching.round()
        # ready is what has looked at everything once
        _notify("READY=1\nWATCHDOG=1")
        pause = 2.0 if watching.finding_the_others else ROUND_SECONDS
        time.sleep(max(1.0, pause - (time.monotonic() - began)))


def test(config: dict[str, Any], secrets: dict[str, str]) -> int:
    """A message through every way, whatever is known of it. Prints JSON: {"mail": [true, "250, ..."]}."""
    name, results = config["name"], {}
    lines = ("This is a test: `make alert-test`.", "Nothing has to be done.")
    message = Message(config["stack"], name, "alerts reach you", "test", name, lines)
    trusted = out.trust(config["certificate"])
    for channel in out.channels(config, secrets, trusted):
        try:
            results[channel.name] = [True, channel.send(message)]
        except ERRORS as error:
            results[channel.name] = [False, reason(error)]
    if config["heartbeat_minutes"]:
        try:
            results[HEARTBEAT] = [True, out.call(secrets["heartbeat_url"], trusted)]
        except ERRORS as error:
            results[HEARTBEAT] = [False, reason(error)]
    print(json.dumps(results), flush=True)
    return 0


def main(words: list[str]) -> int:
    """Do what the one word says."""
    config = json.loads(CONFIG.read_text())
    folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
    secrets = {path.name: path.read_text().strip() for path in folder.iterdir()}
    if words == ["test"]:
        return test(config, secrets)
    if words != ["watch"]:
        print("usage: alerts watch | test", file=sys.stderr)
        return 2
    watch(config, secrets, Path(os.environ["STATE_DIRECTORY"]) / "memory.json")
    return 0


def _notify(word: str) -> None:
    """sd_notify(3)."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect(f"\0{path[1:]}" if path.startswith("@") else path)
            to.send(word.encode())


def _json(path: Path) -> dict[str, Any]:
    """A memory that cannot be read is none: what lasts is then told once more."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(path: Path, value: dict[str, Any]) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(value))
    fresh.replace(path)
