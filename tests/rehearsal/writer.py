"""Runs in a machine: inserts numbered rows as an application does, and writes down what was acknowledged.

Standard library and psycopg2 only. The plan is the file that is named first; it holds a password and is removed as soon
as it is read. One row a transaction, one at a time. A line stands safely on this disk before the next row is tried:

    ack N SENT ANSWERED SERVER WARNED     the server said that row N is there; `warned`: but maybe not on the standby
    unknown N SENT ENDED REASON           no answer came: the row may be there or not

Times are of the monotonic clock, which all machines of a lab share.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]  # the machine has it
import psycopg2.extensions  # type: ignore[import-untyped]


def main() -> None:
    """Write until the time is over; the one who started it ends it before."""
    path = Path(sys.argv[1])
    plan = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    patience = Patience(plan["patience"])
    psycopg2.extensions.set_wait_callback(patience.wait)
    ends = time.monotonic() + plan["seconds"]
    connection = None
    number = 0
    record = os.open(plan["record"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    while time.monotonic() < ends:
        number += 1
        patience.begin()
        sent = time.monotonic()
        try:
            if connection is None:
                connection = psycopg2.connect(**plan["to"])
                connection.autocommit = True
            server = insert(connection, plan["table"], plan["name"], number)
            # a commit that was told not to wait for the standby any more is answered like any other, but for this
            warned = any("replicated" in notice for notice in connection.notices)
            write_down(record, f"ack {number} {sent:.4f} {time.monotonic():.4f} {server} {int(warned)}")
            connection.notices.clear()
        except (psycopg2.Error, TimeoutError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            write_down(record, f"unknown {number} {sent:.4f} {time.monotonic():.4f} {reason}")
            if connection is not None:
                connection.close()
            connection = None
        time.sleep(plan["pause"])


def insert(connection: Any, table: str, name: str, number: int) -> str:
    """One row, committed when this returns. Returns the address of the server that has taken it."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"insert into {table} (writer, n) values (%s, %s) returning host(inet_server_addr())",
            (name, number),
        )
        found: str = cursor.fetchone()[0]
        return found


def write_down(record: int, line: str) -> None:
    """Append a line; it is on the disk when this returns."""
    os.write(record, f"{line}\n".encode())
    os.fsync(record)


class Patience:
    """How long an application waits for one answer, connecting included: libpq itself would wait for a dead server."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.deadline = 0.0

    def begin(self) -> None:
        """A new attempt."""
        self.deadline = time.monotonic() + self.seconds

    def wait(self, connection: Any) -> None:
        """psycopg2 calls this wherever it would block."""
        while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
            left = self.deadline - time.monotonic()
            reads = [connection.fileno()] if state == psycopg2.extensions.POLL_READ else []
            writes = [connection.fileno()] if state == psycopg2.extensions.POLL_WRITE else []
            if left <= 0 or not any(select.select(reads, writes, [], left)):
                raise TimeoutError("no answer in time")


if __name__ == "__main__":
    main()
