"""Runs on a database server as root: writes a word into the stream of changes, and looks for it in whatever passes by.

The word is a message that stands in the stream alone (PostgreSQL 17 manual, 9.28.6): it changes no row and leaves
nothing behind. Every site looks at the same time; the one that leads writes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

# every so often a word, for so long at least; on a busy machine for longer, until the stream has passed the interface
_EVERY, _LOOK, _LONGEST = 0.9, 2.4, 12.0
# /usr/bin/psql is Debian's wrapper in Perl around it, which takes three times as long (pg_wrapper(1))
_PSQL = "/usr/lib/postgresql/17/bin/psql"
_APPLICATION = b"\x17\x03\x03"  # a record of TLS that carries data (RFC 8446, 5.1)


def sql(query: str) -> str:
    words = ("runuser", "-u", "postgres", "--", _PSQL, "-XAtq", "-d", "postgres", "-f", "-")
    done = subprocess.run(words, input=query, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def main() -> dict[str, object]:
    port, interface, word = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if not word.isalnum():
        sys.exit("the word is no word")  # it stands in SQL
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    tap.settimeout(0.1)
    leads = sql("select not pg_is_in_recovery()") == "t"
    written, times, open_, sealed = "", list[float](), set[str](), set[str]()
    begun = last = time.monotonic()
    looked_from = time.time()
    while (now := time.monotonic()) < begun + (_LOOK if interface in sealed else _LONGEST):
        if leads and now > last + _EVERY:
            last = now
            # flushed, so that it is sent at once; many times, so that it stands whole in some packet
            position = sql(f"select pg_logical_emit_message(false, 'bastide', repeat('{word} ', 100), true)")
            written = written or position or "failed"
            times.append(time.time())
        try:
            data, place = tap.recvfrom(65535)
        except TimeoutError:
            continue
        if word.encode() in data:
            open_.add(place[0])
        elif len(data) > 40 and data[0] >> 4 == 4 and data[9] == 6:
            body = (data[0] & 15) * 4
            ports = {int.from_bytes(data[body : body + 2], "big"), int.from_bytes(data[body + 2 : body + 4], "big")}
            start = body + (data[body + 12] >> 4) * 4
            if port in ports and data[start : start + 3] == _APPLICATION and len(data) > start + 60:
                sealed.add(place[0])
    seen = {"open": sorted(open_), "sealed": sorted(sealed)}
    return {"leads": leads, "written": written, "times": times, "looked": [looked_from, time.time()], **seen}


if __name__ == "__main__":
    # how far it has come is asked once all have looked: who began first may have ended before the word was written
    print(json.dumps(main()) if sys.argv[1:2] != ["received"] else sql("select pg_last_wal_receive_lsn()"))
