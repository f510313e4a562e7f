"""Actions: what a request set going, with progress, an end, and the memory to go on after the process was killed.

An action whose work needs the machines is stored as a verb with plain arguments (`work`), runs in its lane, and is
run again from the beginning after a restart: verbs are idempotent. Actions without work are done when they begin.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from bastide.errors import BastideError
from lab.cloud.errors import ActionFailed
from lab.cloud.lanes import Lanes
from lab.cloud.state import Record, State, Tables

log = logging.getLogger("lab.cloud")

# how long an answer may wait for its action to end, so that quick work is answered as done and needs no polling
PATIENCE_SECONDS = 0.25
_DELAY_STEPS = 4

Progress = Callable[[int], None]
Verb = Callable[[Record, Progress], None]


class Actions:
    """Begins, runs and shows actions.

    `delay` (seconds) makes each action with work take at least that long, as in the real cloud: for tests that want
    to see it running.
    """

    def __init__(self, state: State, now: Callable[[], str], delay: float) -> None:
        self._state = state
        self._now = now
        self._delay = delay
        self._lanes = Lanes()
        self._ended = threading.Condition()
        self._verbs: dict[str, Verb] = {}

    def use(self, verbs: dict[str, Verb]) -> None:
        """Say how each verb is done."""
        self._verbs = verbs

    def begin(
        self, tables: Tables, command: str, resources: Sequence[tuple[str, int]], work: Record | None = None
    ) -> int:
        """Add an action to `tables` (inside a change); returns its id.

        With `work` ({"verb", "lane", ...}) it is running, and `launch` must follow when the change is done.
        """
        action: Record = {
            "id": tables.new_id(),
            "command": command,
            "status": "running" if work else "success",
            "progress": 0 if work else 100,
            "started": self._now(),
            "finished": None if work else self._now(),
            "resources": [{"id": key, "type": kind} for kind, key in resources],
            "error": None,
            "work": work,
        }
        tables.actions[action["id"]] = action
        return int(action["id"])

    def launch(self, ids: Iterable[int], patience: float = PATIENCE_SECONDS) -> list[Record]:
        """Start the work of actions, wait a moment for their end, and return them as the API shows them."""
        kept = list(ids)
        for key in kept:
            self._submit(key)
        self.wait(kept, 0.0 if self._delay else patience)
        with self._state.read() as tables:
            return [shown(tables.actions[key]) for key in kept if key in tables.actions]

    def wait(self, ids: Sequence[int], seconds: float) -> bool:
        """Wait until these actions have ended; False when they have not within `seconds`."""
        until = time.monotonic() + seconds
        with self._ended:
            return self._ended.wait_for(lambda: not self._running(ids), max(0.0, until - time.monotonic()))

    def resume(self) -> list[int]:
        """Start again what was running when the process ended; returns the ids."""
        with self._state.read() as tables:
            ids = [key for key, action in tables.actions.items() if action["status"] == "running"]
        for key in ids:
            self._submit(key)
        return ids

    def aside(self, lane: str, job: Callable[[], None]) -> None:
        """Do something in a lane that is nobody's action; an error is logged."""

        def run() -> None:
            try:
                job()
            except Exception as error:
                log.exception("%s: %s", lane, error)

        self._lanes.submit(lane, run)

    def _submit(self, key: int) -> None:
        with self._state.read() as tables:
            action = tables.actions[key]
            work = {**action["work"], "command": action["command"]} if action["work"] else {}
        if work:
            self._lanes.submit(work["lane"], lambda: self._run(key, work))

    def _run(self, key: int, work: Record) -> None:
        error = None
        try:
            for step in range(_DELAY_STEPS if self._delay else 0):
                self._progress(key, step * 80 // _DELAY_STEPS)
                time.sleep(self._delay / _DELAY_STEPS)  # the slowness itself was asked for
            self._verbs[work["verb"]](work, lambda percent: self._progress(key, percent))
        except BastideError as failed:
            log.warning("action %s (%s) failed: %s", key, work["verb"], failed.message)
            code = failed.code if isinstance(failed, ActionFailed) else "action_failed"
            error = {"code": code, "message": " ".join(filter(None, [failed.message, failed.hint]))}
        except Exception as failed:
            log.exception("action %s (%s) failed", key, work["verb"])
            error = {"code": "server_error", "message": f"a fault of the local cloud itself: {failed!r}"}
        self._finish(key, error)

    def _progress(self, key: int, percent: int) -> None:
        with self._state.change(durable=False) as tables:
            tables.actions[key]["progress"] = percent

    def _finish(self, key: int, error: Record | None) -> None:
        try:
            with self._state.change() as tables:
                self._close(tables, key, error)
        except OSError as failed:
            # nobody must wait for ever: it has ended, even if a restart will do the work once more
            log.error("the end of action %s could not be written: %s", key, failed)
            with self._state.change(durable=False) as tables:
                self._close(tables, key, error)
        with self._ended:
            self._ended.notify_all()

    def _close(self, tables: Tables, key: int, error: Record | None) -> None:
        action = tables.actions[key]
        action.update(status="error" if error else "success", error=error, finished=self._now(), work=None)
        action["progress"] = action["progress"] if error else 100

    def _running(self, ids: Sequence[int]) -> bool:
        with self._state.read() as tables:
            return any(key in tables.actions and tables.actions[key]["status"] == "running" for key in ids)


def shown(action: Record) -> Record:
    """An action as the API shows it."""
    return {key: value for key, value in action.items() if key != "work"}


def rfc3339(moment: datetime) -> str:
    """A time as the API writes it: RFC 3339, whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")
