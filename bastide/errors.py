"""One tree of errors. Each carries what went wrong and what to do next.

Stdlib only: `lab/` and `tools/` use it before anything else is installed.
A traceback is for bugs; everything a user can cause or mend is a `BastideError`.
"""

from __future__ import annotations


class BastideError(Exception):
    """Something the user can understand and act on.

    `message` says what is wrong (one sentence, no trailing stop needed), `hint` says what to do next.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(BastideError):
    """The stack file says something it must not. Carries every mistake at once, one line each."""

    def __init__(self, mistakes: list[str], hint: str = "") -> None:
        super().__init__("\n".join(mistakes), hint)
        self.mistakes = mistakes


class CommandFailed(BastideError):
    """A program ended with an error. `output` is the tail of what it said, already free of secrets."""

    def __init__(self, message: str, hint: str = "", *, returncode: int = 1, output: str = "") -> None:
        super().__init__(message, hint)
        self.returncode = returncode
        self.output = output


class CommandTimedOut(CommandFailed):
    """A program did not end in the time it was given, and was stopped."""


class ToolError(BastideError):
    """A tool of the tool set is missing, too old, or could not be fetched or built."""


class LabError(BastideError):
    """The local cloud or one of its machines cannot do what was asked."""


class StackError(BastideError):
    """Settings, state and machines do not fit together (not created yet, other names, no passphrase)."""


class HostKeyError(BastideError):
    """A machine shows another ssh host key than the recorded one."""


class PreflightError(BastideError):
    """A machine is not fit for a deploy; nothing has been changed."""


class EvidenceError(BastideError):
    """Evidence is missing, stale or not of the known schema."""
