"""What a user sees, and the one place that starts other programs.

`run` is the only place that starts a subprocess, `step` the only one that shows progress, `exit_with` the only one that
turns an error into two lines and exit code 1. Stdlib only.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from bastide.errors import BastideError, CommandFailed, CommandTimedOut

_HEARTBEAT_SECONDS = 15.0
_MAKE = re.compile(r"`make [^`\n]+`")
_TAIL_LINES = 12
_depth = threading.local()


@dataclass(frozen=True)
class Completed:
    """What a program left: its exit code and, unless it was streamed, what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.returncode == 0


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    input: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    check: bool = True,
    stream: bool = False,
    show: bool = False,
    log: Path | None = None,
    hint: str = "",
) -> Completed:
    """Run a program to its end.

    - `argv` is shown in errors: secrets go through `input` or a file, never in here.
    - `env` is added to this process's environment; `timeout` is in seconds.
    - `stream=True` gives the program the user's terminal, for input too; nothing is captured then. `show=True` does
      so for its output alone; a failure is not said twice then, only what failed.
    - `log` sends both outputs to that file (created 0600, appended to) instead.

    Returns a `Completed`. Raises `CommandFailed` when `check` and the exit code is not 0 or the program does not exist,
    `CommandTimedOut` when it took longer than `timeout`; its whole process group is ended then.
    """
    words = [os.fspath(word) for word in argv]
    data = input.encode() if isinstance(input, str) else input
    # what shows itself stays in the terminal's group: Ctrl-C reaches it, and sudo can ask
    at_terminal = stream or show
    with contextlib.ExitStack() as stack:
        out: IO[bytes] | int | None = subprocess.PIPE
        err: IO[bytes] | int | None = subprocess.PIPE
        if at_terminal:
            sys.stdout.flush()
            out = err = None
        elif log is not None:
            out = stack.enter_context(os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab"))
            err = subprocess.STDOUT
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if data is not None else (None if stream else subprocess.DEVNULL),
                stdout=out,
                stderr=err,
                env={**_environment(), **(env or {})},
                cwd=cwd,
                # a group of its own ends with all its children; still in the session, where sudo's ticket counts
                process_group=None if at_terminal else 0,
            )
        except OSError as error:
            raise CommandFailed(f"cannot run {words[0]}: {error.strerror}", hint, returncode=127) from error
        try:
            stdout, stderr = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process, group=not at_terminal)
            raise CommandTimedOut(f"{_short(words)} did not end within {timeout:g} s and was stopped", hint) from None
        except BaseException:
            _end(process, group=not at_terminal)
            raise
    done = Completed(process.returncode, _text(stdout), _text(stderr))
    if check and not done.ok:
        tail = tail_of(log.read_text(errors="replace") if log else done.stderr or done.stdout)
        message = f"{_short(words)} ended with exit code {done.returncode}" + (f":\n{tail}" if tail else "")
        raise CommandFailed(message, hint, returncode=done.returncode, output=tail)
    return done


@contextlib.contextmanager
def step(title: str, *, quiet_under: float = 0.0) -> Iterator[None]:
    """Show that something is being done, and how long it took.

    With `quiet_under` (seconds) a step that ends sooner prints nothing. Steps nest. A long step says every
    fifteen seconds that it is still at work, so that nobody wonders.
    """
    level: int = getattr(_depth, "level", 0)
    indent = "  " * level
    began = time.monotonic()
    ended = threading.Event()

    def watch() -> None:
        if quiet_under and not ended.wait(quiet_under):
            say(f"{indent}• {title} …")
        while not ended.wait(_HEARTBEAT_SECONDS):
            say(f"{indent}  … {title}: {time.monotonic() - began:.0f} s")

    if not quiet_under:
        say(f"{indent}• {title} …")
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    _depth.level = level + 1
    try:
        yield
    except BaseException:
        ended.set()
        say(f"{indent}✗ {title} ({time.monotonic() - began:.1f} s)")
        raise
    finally:
        ended.set()
        _depth.level = level
    took = time.monotonic() - began
    if took >= quiet_under:
        say(f"{indent}✓ {title} ({took:.1f} s)")


def say(text: str) -> None:
    """Print a line for the user, at once."""
    # one write a line: lines of several threads do not mix
    print(f"{of_stack(text)}\n", end="", flush=True)


def of_stack(text: str) -> str:
    """A text whose commands (`make deploy`) are for the stack that is worked on ($BASTIDE_STACK) as they stand.

    Typed without it, make takes the stack `lab`: `make down` for another one would take away the wrong one.
    """
    stack = os.environ.get("BASTIDE_STACK", "")
    if stack in ("", "lab"):
        return text
    return _MAKE.sub(lambda found: found[0] if "stack=" in found[0] else f"{found[0][:-1]} stack={stack}`", text)


def warn(text: str) -> None:
    """Print a line that needs attention, to standard error."""
    print(f"! {text}", file=sys.stderr, flush=True)


def die(message: str, hint: str = "") -> NoReturn:
    """Stop with what is wrong and what to do next."""
    raise BastideError(message, hint)


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's `main` and leave: an error becomes two lines (what, what next) and exit code 1."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except BastideError as error:
        sys.stdout.flush()
        print(f"error: {of_stack(error.message)}", file=sys.stderr)
        if error.hint:
            print(f" next: {of_stack(error.hint)}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # the reader went away (`| head`): nothing left to say to anybody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def heed_interrupts() -> None:
    """Take SIGINT again where a shell made its background job deaf to it (POSIX shell, 2.11).

    Programs inherit that from whoever starts them, and Pulumi ends its plugins by SIGINT: each that does not hear it
    is waited for for 5 s.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def tail_of(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of a program's output: where it says why."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


def _environment() -> dict[str, str]:
    """This process's environment, copied.

    Without an `env` a program starts with the C library's own array, which another thread may be moving at that very
    moment by setting a variable (pytest does for every test): execve(2) then fails with "Bad address".
    """
    names = list(os.environ)
    return {name: value for name in names if (value := os.environ.get(name)) is not None}


def _text(data: bytes | None) -> str:
    return data.decode(errors="replace") if data else ""


def _short(words: Sequence[str]) -> str:
    shown = " ".join([Path(words[0]).name, *words[1:]])
    return shown if len(shown) <= 120 else shown[:117] + "..."


def _end(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """End a program and what it started: politely, then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        try:
            process.communicate(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue
