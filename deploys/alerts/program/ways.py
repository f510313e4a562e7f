"""How the ways out are, as far as is known: each is tried before it is needed, and what came of it is remembered."""

from __future__ import annotations

import ssl
from typing import Any

from .channels import ERRORS, Channel, Message, call, reason
from .findings import Finding

HEARTBEAT = "heartbeat"
_CHECK_SECONDS = 3600
# a way that refused a message is not taken for a good one because it answers: only after so long it is tried again
_RETRY_SECONDS = 300
_RECHECK_SECONDS = 60
# a way that is none for so long is an alert itself
_BROKEN_SECONDS = 900
# a call comes rather so much too early than too late: rounds are not to the second
_EARLY_SECONDS = 8


class Ways:
    """The channels and the dead man's signal. What is known of each by name is in `known`, which outlives this."""

    def __init__(self, channels: list[Channel], url: str, trusted: ssl.SSLContext, known: dict[str, Any]) -> None:
        self._channels, self._url, self._trusted, self._known = channels, url, trusted, known
        # settings or secrets may be others than before
        for state in known.values():
            state.pop("checked", None)

    @property
    def able(self) -> bool:
        """Whether a message of this machine would get out, by what is known."""
        states = [self._state(channel.name) for channel in self._channels]
        return any(state.get("ok", True) for state in states)

    def send(self, message: Message, now: float) -> bool:
        """Through every way; whether at least one took it."""
        taken = False
        for channel in self._channels:
            try:
                said = channel.send(message)
                self._note(channel.name, now, True, f"took a message: {said}", "sent")
                taken = True
            except ERRORS as error:
                self._note(channel.name, now, False, reason(error), "sent")
        return taken

    def check(self, now: float) -> None:
        """Each way once an hour, and one that is none more often: so that it is known before it is needed."""
        for channel in self._channels:
            state = self._state(channel.name)
            # a clock that was set back makes everything due
            age = abs(now - state.get("checked", 0.0))
            wait = _RETRY_SECONDS if state.get("by") == "sent" else _RECHECK_SECONDS
            wait = _CHECK_SECONDS if state.get("ok") else wait
            if age < wait:
                continue
            state["checked"] = now
            try:
                self._note(channel.name, now, True, channel.check(), "checked")
            except ERRORS as error:
                self._note(channel.name, now, False, reason(error), "checked")

    def heartbeat(self, minutes: int, now: float) -> None:
        """Call outside when it is time to."""
        state = self._state(HEARTBEAT)
        wait = minutes * 60 if state.get("ok") else _RECHECK_SECONDS
        if abs(now - state.get("at", 0.0)) < wait - _EARLY_SECONDS:
            return
        try:
            self._note(HEARTBEAT, now, True, f"answered {call(self._url, self._trusted)}", "sent")
        except ERRORS as error:
            self._note(HEARTBEAT, now, False, reason(error), "sent")

    def no_heartbeat(self) -> None:
        """It is another machine's to call: what came of it here is over."""
        self._known.pop(HEARTBEAT, None)

    def broken(self, now: float) -> dict[str, Finding]:
        """What is wrong with them, for others to tell; said in the journal, too."""
        found = {}
        for name in [*(channel.name for channel in self._channels), HEARTBEAT]:
            state = self._state(name)
            if not state.get("ok", True) and now - state["since"] > _BROKEN_SECONDS:
                what = f"no message gets out by {name}: {state['said']}"
                next_ = "make alert-test; see settings.alerts"
                found[f"channel/{name}"] = {
                    "what": what,
                    "since": state["since"],
                    "next": next_,
                    "event": False,
                    "last": now,
                }
                if not state.get("alerted"):
                    # where nobody else can be told, the journal is
                    state["alerted"] = True
                    print(f"<1>{what}", flush=True)
        return found

    def _state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self._known.setdefault(name, {})
        return state

    def _note(self, name: str, now: float, ok: bool, said: str, by: str) -> None:
        state = self._state(name)
        if state.get("ok") != ok:
            state["since"] = now
            state.pop("alerted", None)
            print(f"{'<5>' if ok else '<4>'}{name}: {said}", flush=True)
        state |= {"ok": ok, "at": now, "said": said, "by": by}
        if by == "sent":
            state["checked"] = now
