"""What machines show each other: one page of JSON, in the mesh only, to be read and nothing else."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .findings import Finding, text
from .telling import SILENT, Told

Page = dict[str, Any]
_SECONDS = 3
_MOST_BYTES = 1_000_000
_MOST_SHOWN = 100
_TIMES = ("at", "since", "first", "times")


class Publisher:
    """Shows a page to whoever asks. Where the mesh is not up yet it is tried again at the next page."""

    def __init__(self, address: str, port: int) -> None:
        self._where = (address, port)
        self._page = b"{}"
        self._server: ThreadingHTTPServer | None = None

    def show(self, page: Page) -> None:
        """From now on this one."""
        self._page = json.dumps(page).encode()
        if self._server is None:
            try:
                self._server = ThreadingHTTPServer(self._where, self._handler())
            except OSError as error:
                print(f"<4>nothing can be shown at {self._where[0]}: {error.strerror}", flush=True)
                return
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _SECONDS
            server_version, sys_version = "bastide-alerts", ""

            def do_GET(self) -> None:
                """The page, whatever is asked for."""
                page = publisher._page
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Four lines a minute from each machine are of no use."""

        return Handler


class Peers:
    """The other machines, and when each answered last. `addresses` by name; `port` None: they are only pinged."""

    def __init__(self, addresses: dict[str, str], port: int | None) -> None:
        self._addresses, self._port = addresses, port
        began = time.monotonic()
        # who has never answered is silent since this program began
        self.answered = dict.fromkeys(addresses, began)
        self.ever: set[str] = set()
        self._at: dict[str, Any] = {}

    def look(self) -> dict[str, Page]:
        """The pages of those that answer now; where they are only pinged, empty ones."""
        if not self._addresses:
            return {}
        with ThreadPoolExecutor(min(16, len(self._addresses))) as pool:
            answers = dict(zip(self._addresses, pool.map(self._ask, self._addresses.values()), strict=True))
        found = {name: page for name, page in answers.items() if page is not None}
        # who shows the same page for ever has a program that hangs
        fresh = [name for name, page in found.items() if not page or page.get("at") != self._at.get(name)]
        self._at |= {name: page.get("at") for name, page in found.items()}
        self.answered |= dict.fromkeys(fresh, time.monotonic())
        self.ever |= set(fresh)
        return found

    def silence(self, name: str) -> float:
        """Seconds since it answered last."""
        return time.monotonic() - self.answered[name]

    def _ask(self, address: str) -> Page | None:
        if self._port is None:
            argv = ["ping", "-n", "-q", "-c", "1", "-W", "2", address]
            return {} if subprocess.run(argv, capture_output=True, check=False).returncode == 0 else None
        connection = http.client.HTTPConnection(address, self._port, timeout=_SECONDS)
        try:
            connection.request("GET", "/")
            page = json.loads(connection.getresponse().read(_MOST_BYTES))
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return page if isinstance(page, dict) and page.get("version") == 1 else None


def findings_of(page: Page) -> dict[str, Finding]:
    """What a page says, as far as it is what it should be: another machine may be anybody's by now."""
    found = page.get("findings")
    kept: dict[str, Finding] = {}
    for key, one in list(found.items())[:_MOST_SHOWN] if isinstance(found, dict) else []:
        if isinstance(one, dict) and key != SILENT and _numbers(one, "since", "last"):
            what, next_ = text(one.get("what", "")), text(one.get("next", ""))
            fields = {"since": one["since"], "last": one["last"], "event": one.get("event") is True}
            kept[text(key)] = {"what": what, "next": next_, **fields}
    return kept


def told_of(name: str, page: Page) -> Told:
    """What a machine says that it, or one before it, has told: of others. Of itself nobody is asked whether people
    know already."""
    found = page.get("told")
    kept: Told = {}
    for key, one in list(found.items())[: 10 * _MOST_SHOWN] if isinstance(found, dict) else []:
        known = isinstance(one, dict) and one.get("state") in ("told", "resolved")
        if known and _numbers(one, *_TIMES) and not key.startswith(f"{name}/"):
            fields = {"state": one["state"], **{field: one[field] for field in _TIMES}}
            kept[text(key)] = {**fields, "what": text(one.get("what", "")), "event": one.get("event") is True}
    return kept


def _numbers(one: dict[str, Any], *fields: str) -> bool:
    return all(isinstance(one.get(field), int | float) for field in fields)
