"""The guide "one existing server, proven in ten minutes", word for word; then a database on that one server.

The server is a machine of the lab that its API does not know. The stack is none of the lab's: what the guide says is
run as it stands there, but for the stack's name and where the state lies.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bastide.console import Completed, run
from bastide.machines import build_dir
from bastide.stackfile import dump, load
from tests.rehearsal.stack import FOREIGN, Rehearsal

LAB = "existing"

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "one-server.md"
STACK = "rehearsal-one"
BOX = "alone"
MINUTES = 10
COMPANY = {"name": "Rehearsal", "domain": "bastide-rehearsal.eu", "security_contact": "it@bastide-rehearsal.eu"}


class Owner:
    """Somebody with a server, a clone of the project and this guide."""

    def __init__(self, lab: Rehearsal, home: Path) -> None:
        self.lab, self.home, self.root = lab, home, lab.root
        self.stack = Rehearsal(STACK, lab.root)
        self.blocks = [block.replace("prod", STACK).replace("/srv/pulumi", str(home / "state")) for block in _blocks()]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        self.env |= {"HOME": str(home), "USER": "root", "XDG_CACHE_HOME": cache}

    def types(self, *words: str, check: bool = True) -> Completed:
        """Commands in one shell, with what the guide has exported before."""
        exports = [line for block in self.blocks for line in block.splitlines() if line.startswith("export ")]
        # root has no need of it, and may not have it
        rooted = 'command -v sudo >/dev/null || sudo() { "$@"; }'
        script = "\n".join(["set -e", rooted, *(exports if (self.home / "state").exists() else []), *words])
        blank = {name: "" for name in os.environ if name not in self.env}
        env = {**blank, **self.env}
        done = run(["bash", "-c", script], cwd=self.root, env=env, check=False, timeout=MINUTES * 60)
        assert done.ok or not check, f"{words[-1]}:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        return done

    def edit(self, path: str, value: object) -> None:
        """One value of the stack file."""
        document = load(self.stack.file)
        *parents, last = path.split(".")
        here: Any = document["config"]["bastide:settings"]
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value
        self.stack.file.write_text(dump(document))

    def outcomes(self) -> dict[str, str]:
        """What the evidence says of the one machine, by control."""
        rows = json.loads((build_dir(STACK, self.root) / "evidence.json").read_text())["rows"]
        return {row["control"]: row["outcome"] for row in rows}

    def page(self) -> str:
        """The security page."""
        return (build_dir(STACK, self.root) / "security.html").read_text()


def _blocks() -> list[str]:
    """The commands of the guide's steps, a text a block of indented lines."""
    found: list[list[str]] = [[]]
    for line in GUIDE.read_text().partition("## Later")[0].splitlines():
        if line.startswith("       "):
            found[-1].append(line.strip())
        elif line.strip() and found[-1]:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


@pytest.fixture(scope="module")
def owner(fresh: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    fresh.make("lab")
    person = Owner(fresh, tmp_path_factory.mktemp("home"))
    person.stack.file.unlink(missing_ok=True)
    yield person
    remove_files(person.stack)


def remove_files(stack: Rehearsal) -> None:
    stack.file.unlink(missing_ok=True)
    (stack.root / "stacks" / f"{stack.stack}.known_hosts").unlink(missing_ok=True)


def test_the_guide_word_for_word(owner: Owner) -> None:
    began = time.monotonic()
    new, check, keep, up = owner.blocks
    owner.types("mkdir -m 700 ~/.ssh; ssh-keygen -q -t ed25519 -N '' -C me -f ~/.ssh/id_ed25519", new)
    wrong = owner.types(check, check=False)
    assert wrong.stderr.count("is for you to write (got CHANGE-ME)") == len(
        re.findall("CHANGE-ME", owner.stack.file.read_text())
    )
    public = owner.home / ".ssh" / f"bastide-{STACK}.pub"
    told = json.loads(owner.lab.lab("stranger", "add", BOX, "--authorized-key", str(public), "--json").stdout)
    for path, value in {
        "company": COMPANY,
        "servers.primary.hoster": "OVH",
        "servers.primary.city": "Gravelines",
        "servers.primary.country": "FR",
        "servers.primary.address": told["address"],
        "servers.primary.host_key": told["host_key"],
        "firewall.operators": ["198.51.0.0/16"],
    }.items():
        owner.edit(path, value)
    assert "no mistake (1 server, 1 person)" in owner.types(check).stdout
    owner.types(keep)
    done = owner.types(up)
    took = time.monotonic() - began
    assert "Traceback" not in done.stdout + done.stderr
    assert "failed" not in owner.outcomes().values(), owner.outcomes()
    assert took < MINUTES * 60
    page = owner.page()
    for absent in ("standby", "takes over", "voters", "two countries", "every other one"):
        assert absent not in page, absent


def test_a_second_run_changes_nothing(owner: Owner) -> None:
    done = owner.types(f"make deploy stack={STACK}", f"make plan stack={STACK}")
    assert "plan: nothing differs" in done.stdout


def test_a_database_on_one_server(owner: Owner) -> None:
    owner.edit("servers.primary.mesh_address", "10.21.0.11")
    owner.edit("wireguard", {"range": "10.21.0.0/24"})
    owner.edit("postgres", {"databases": {"app": {"roles": {"app_owner": "owner", "app": "writer"}}}})
    owner.types(f"make up stack={STACK}")
    outcomes = owner.outcomes()
    assert "failed" not in outcomes.values(), outcomes
    assert outcomes["postgres-02"] == "proven"
    assert not {"postgres-01", "postgres-04", "postgres-07", "etcd-01", "etcd-03", "wireguard-01"} & set(outcomes)
    assert "standby" not in owner.page()
    rows = "create table t (n int); insert into t values (1); select count(*) from t"
    said = owner.lab.exec(BOX, f'runuser -u postgres -- psql -XAtqd app -c "set role app_owner" -c "{rows}"').stdout
    assert said.strip().endswith("1")
    owner.lab.lab("crash", BOX)
    owner.lab.lab("start", BOX)
    done = owner.types(f"make deploy stack={STACK}", f"make prove stack={STACK}")
    assert "Traceback" not in done.stdout + done.stderr
    said = owner.lab.exec(BOX, "runuser -u postgres -- psql -XAtqd app -c 'select count(*) from t'").stdout
    assert said.strip() == "1"
