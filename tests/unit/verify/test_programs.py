"""The programs of ours that checks know are those that machines get."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator

from bastide.cluster import cluster_of
from bastide.layout import alerts, updates
from bastide.settings import Settings
from deploys.alerts.deploy import program_files, wanted_of
from deploys.etcd import membership
from deploys.etcd.deploy import turn_file
from deploys.operations.files import File
from deploys.postgres.patroni import member_files
from deploys.postgres.turn import turn_files
from deploys.restarts import restart_files
from deploys.updates.deploy import program_text
from deploys.users import gate_file
from tests.unit.deploys.box import ALERTS, GUARDED, MACHINES, SECRETS, here
from tests.unit.deploys.test_templates import CLUSTERED, KEYRING
from tests.verify.probes.remote.programs import digest
from tests.verify.programs import DIGESTS

ALONE = Settings.model_validate(
    {
        **CLUSTERED.model_dump(),
        "servers": {name: one for name, one in CLUSTERED.model_dump()["servers"].items() if one["role"] == "primary"},
    }
)


def _files() -> Iterator[File]:
    """What a site, a witness and a server that is alone get."""
    primary, _, witness = MACHINES
    for settings, machine in ((CLUSTERED, primary), (CLUSTERED, witness), (ALONE, primary)):
        members = membership.members_of(settings, machine, "prod")
        yield from membership.tool_files(members, KEYRING)
        yield from membership.upkeep_files(settings.etcd, members)
        yield turn_file(members)
        yield from restart_files()
        if machine is primary:
            yield from turn_files(cluster_of(settings, primary, "prod"), KEYRING)
            assert settings.postgres
            for durability in ("zero-loss", "fast"):
                postgres = {"postgres": settings.postgres.model_copy(update={"durability": durability})}
                cluster = cluster_of(settings.model_copy(update=postgres), primary, "prod")
                yield from member_files(cluster, KEYRING, {})
    yield gate_file(GUARDED)


def test_checks_know_the_programs_that_machines_get() -> None:
    found = defaultdict(set)
    for file in _files():
        if file.content is not None and file.mode & 0o111:
            found[file.path].add(digest(str(file.content)))
    found[updates.PROGRAM].add(hashlib.sha256(program_text().encode()).hexdigest())
    found[alerts.PROGRAM].add(_digest_of_alerts())
    known = {path: set(digests) for path, digests in DIGESTS.items()}
    right = "\n".join(f"    {path!r}: {tuple(sorted(digests))!r}," for path, digests in sorted(found.items()))
    assert known == found, (
        f"tests/verify/programs.py, DIGESTS: a program was changed; what machines get now is\n{right}"
    )


def _digest_of_alerts() -> str:
    """Of the folder that Python runs, as `probes/remote/alerts_seen.py` takes it."""
    settings = Settings.model_validate({**CLUSTERED.model_dump(), "alerts": ALERTS})
    texts = {
        file.path.removeprefix(f"{alerts.PROGRAM}/"): str(file.content)
        for file in program_files(wanted_of(here(settings=settings, alert_secrets=SECRETS)))
        if file.path.startswith(f"{alerts.PROGRAM}/")
    }
    found = hashlib.sha256()
    for name in sorted(texts):
        found.update(name.encode() + b"\0" + texts[name].encode())
    return found.hexdigest()
