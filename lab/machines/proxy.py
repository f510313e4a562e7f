"""The lab's TCP proxy: connections to the package mirrors, passed on by a program instead of by routing.

The machines' network has no way out. What the host's apt may reach (mirrors, proxies) has an address inside of the
lab; who connects there is connected to the real one by this process, which looks the name up as the host does. So no
forwarding is switched on at the host, and Docker's, ufw's or a VPN's rules do not matter.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading

from lab.machines import links
from lab.machines.router import proxied
from lab.place import Place

_CONNECT_SECONDS = 20.0
_IDLE_SECONDS = 300.0
_CHUNK = 1 << 20


def serve(here: Place) -> list[socket.socket]:
    """Listen for all origins and serve them in threads. Returns the listening sockets."""
    found = []
    for address, port, host in proxied(here):
        listener = links.inside(here.router, lambda where=(address, port): _listen(where))  # type: ignore[misc]
        found.append(listener)
        threading.Thread(target=_accept, args=(listener, host, port), daemon=True, name=f"proxy {host}").start()
    return found


def _listen(where: tuple[str, int]) -> socket.socket:
    return socket.create_server(where, backlog=64)


def _accept(listener: socket.socket, host: str, port: int) -> None:
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_pass_on, args=(inner, host, port), daemon=True).start()


def _pass_on(inner: socket.socket, host: str, port: int) -> None:
    with inner, contextlib.suppress(OSError):
        outer = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
        with outer:
            outer.settimeout(None)
            back = threading.Thread(target=_pump, args=(outer, inner), daemon=True)
            back.start()
            _pump(inner, outer)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Move bytes one way until the source ends. splice(2) keeps them in the kernel."""
    reader, writer = os.pipe()
    try:
        with contextlib.suppress(OSError):
            while select.select([source], [], [], _IDLE_SECONDS)[0]:
                count = os.splice(source.fileno(), writer, _CHUNK)
                if not count:
                    break
                while count:
                    count -= os.splice(reader, target.fileno(), count)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
    finally:
        os.close(reader)
        os.close(writer)
