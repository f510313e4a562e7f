"""Runs on a machine as root: what PAM says, asked by its own library (pam(3)). Standard library only."""

from __future__ import annotations

import ctypes

_PROMPTS = (1, 2)  # pam_conv(3): PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON
_FAIL_DELAY = 10  # pam_set_item(3)
_C = ctypes.CDLL(None)
_C.calloc.restype = _C.strdup.restype = ctypes.c_void_p
_C.calloc.argtypes, _C.strdup.argtypes = (ctypes.c_size_t, ctypes.c_size_t), (ctypes.c_char_p,)


class _Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class _Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


_ASK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)
_WAIT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = [("ask", _ASK), ("data", ctypes.c_void_p)]


def pam(service: str, account: str, step: str, password: str = "") -> int:
    """One step (`authenticate`, `acct_mgmt`, `chauthtok`) for an account, as this service; whatever is asked for is
    answered with the password. Returns PAM's own number, 0 for yes. Nobody waits after a wrong answer."""

    def answer(count: int, messages: object, responses: object, data: object) -> int:
        made = ctypes.cast(_C.calloc(count, ctypes.sizeof(_Response)), ctypes.POINTER(_Response))
        for number in range(count):
            if messages[number].contents.style in _PROMPTS:  # type: ignore[index]
                made[number].text = _C.strdup(password.encode())
        responses[0] = ctypes.cast(made, ctypes.c_void_p)  # type: ignore[index]
        return 0

    library, handle = ctypes.CDLL("libpam.so.0"), ctypes.c_void_p()
    conversation, wait = _Conversation(_ASK(answer), None), _WAIT(lambda *_: None)
    library.pam_start.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
    found = library.pam_start(service.encode(), account.encode(), ctypes.byref(conversation), ctypes.byref(handle))
    if found == 0:
        library.pam_set_item(handle, _FAIL_DELAY, ctypes.cast(wait, ctypes.c_void_p))
        found = getattr(library, f"pam_{step}")(handle, 0)
        library.pam_end(handle, found)
    return int(found)
