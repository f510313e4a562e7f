"""The environment of the bare commands: `pulumi`, `pyinfra` and `pytest` for one stack."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from bastide.errors import ToolError
from tools import cache, installed

# what Pulumi takes as a stack's name; it also becomes a folder below build/
_STACK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def environment(stack: str, root: Path) -> dict[str, str]:
    """What `eval "$(make env stack=NAME)"` sets, to be added to the present environment.

    `root` is the project's folder. Makes build/<stack>/ and links the plugins into its PULUMI_HOME. What the user has
    set (PULUMI_BACKEND_URL, PULUMI_HOME, a passphrase) is left alone; what an earlier `make env` has set is not the
    user's. Raises `ToolError` when the tools are not installed or the name cannot be a stack's.
    """
    if not _STACK.fullmatch(stack):
        raise ToolError(f"{stack!r} cannot be the name of a stack", "use letters, digits, - _ and . (at most 100)")
    tools = installed.require()
    root = root.resolve()
    build = root / "build" / stack
    user = _users_own()
    result = {
        "BASTIDE_STACK": stack,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # `pulumi stack rm` would delete the stack file, and every setting in it (pulumi maps flags to PULUMI_OPTION_*)
        "PULUMI_OPTION_PRESERVE_CONFIG": "true",
        "PATH": _path(root, tools),
    }
    if tools.built_here:
        result["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    local = "PULUMI_BACKEND_URL" not in user
    if local:
        state = build / "state"
        # it holds encrypted secrets and the whole of the infrastructure: nobody else's business
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        result["PULUMI_BACKEND_URL"] = f"file://{state}"
    if "PULUMI_HOME" in user:
        home = Path(user["PULUMI_HOME"])
    elif local:
        home = build / "pulumi-home"
        result["PULUMI_HOME"] = str(home)
    else:
        # another backend may need what `pulumi login` has written there
        home = Path.home() / ".pulumi"
        if "PULUMI_HOME" in os.environ:
            result["PULUMI_HOME"] = str(home)
    installed.link_plugins(home)
    result.update(_passphrase(build / "passphrase", user))
    return result


def as_shell(values: dict[str, str]) -> str:
    """The same as `export` lines for a POSIX shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def _passphrase(file: Path, user: dict[str, str]) -> dict[str, str]:
    if user.keys() & {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}:
        return {}
    if file.exists():
        return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}
    # one that an earlier `make env` named belongs to another stack
    return {"PULUMI_CONFIG_PASSPHRASE_FILE": ""} if os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE") else {}


def _users_own() -> dict[str, str]:
    """Pulumi's variables as the user set them: without what an earlier `make env` left in this shell."""
    stack = os.environ.get("BASTIDE_STACK", "")
    ours = {
        "PULUMI_BACKEND_URL": f"/build/{stack}/state",
        "PULUMI_HOME": f"/build/{stack}/pulumi-home",
        "PULUMI_CONFIG_PASSPHRASE_FILE": f"/build/{stack}/passphrase",
    }
    names = [*ours, "PULUMI_CONFIG_PASSPHRASE"]
    values = {name: os.environ[name] for name in names if name in os.environ}
    # an empty passphrase is a passphrase; an empty anything else is nothing
    values = {name: value for name, value in values.items() if value or name == "PULUMI_CONFIG_PASSPHRASE"}
    return {
        name: value for name, value in values.items() if not (stack and name in ours and value.endswith(ours[name]))
    }


def _path(root: Path, tools: installed.Tools) -> str:
    """.venv/bin first, then the tools, then what was there; evaluating twice does not make it longer."""
    own = [str(root / ".venv" / "bin"), tools.bin]
    before = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    sets = str(cache.root() / "sets")
    kept = [folder for folder in before if folder not in own and not folder.startswith(sets)]
    return os.pathsep.join([*own, *kept])
