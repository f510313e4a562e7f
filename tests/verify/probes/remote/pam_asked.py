"""Runs on a machine as root: whom PAM lets in by a wrong password, at each service that asks it.

Standard library only. It asks as an account without rights, as `su` and `sudo` are asked: what lets root pass for
anybody (pam_rootok(8)) does not count for it, and no list of failures is written, so that it locks nobody out.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

# pam_conv(3): what is asked for with and without an echo; pam_set_item(3), pam_fail_delay(3)
_ASKS = (1, 2)
_FAIL_DELAY = 10
_FOLDERS = ("/etc/pam.d", "/usr/lib/pam.d")  # pam.conf(5)
_NOBODY = 65534  # Debian's base-passwd
_WRONG = b"bastide: a wrong password"


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Answer(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_Messages = ctypes.POINTER(ctypes.POINTER(_Message))
_Answers = ctypes.POINTER(ctypes.POINTER(_Answer))
_Says = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, _Messages, _Answers, ctypes.c_void_p)
_Waits = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("says", _Says), ("data", ctypes.c_void_p))


def asked(plan: dict[str, Any]) -> dict[str, dict[str, int]]:
    """`plan`: accounts (names). Returns PAM's code by account, by service: 0 for who is let in (pam(3))."""
    found = {path.name for folder in _FOLDERS for path in Path(folder).glob("*") if path.is_file()}
    # what others include is asked by them
    services = sorted(name for name in found if not name.startswith("common-"))
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p

    def says(number: int, messages: Any, answers: Any, _: object) -> int:
        # PAM frees them
        answered = ctypes.cast(libc.calloc(number, ctypes.sizeof(_Answer)), ctypes.POINTER(_Answer))
        for place in range(number):
            if messages[place].contents.style in _ASKS:
                answered[place].text = libc.strdup(_WRONG)
        answers[0] = answered
        return 0

    conversation = _Conversation(_Says(says), None)
    at_once = _Waits(lambda *_: None)

    def code(service: str, account: str) -> int:
        handle = ctypes.c_void_p()
        pam.pam_start(service.encode(), account.encode(), ctypes.byref(conversation), ctypes.byref(handle))
        pam.pam_set_item(handle, _FAIL_DELAY, ctypes.cast(at_once, ctypes.c_void_p))
        answer = int(pam.pam_authenticate(handle, 0))
        pam.pam_end(handle, answer)
        return answer

    return {service: {account: code(service, account) for account in plan["accounts"]} for service in services}


if __name__ == "__main__":
    print(json.dumps(asked(json.loads(sys.argv[1]))))
