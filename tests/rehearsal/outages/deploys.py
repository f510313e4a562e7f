"""A failure meets a deploy: what the deploy said is given back, too."""

from __future__ import annotations

import os
import subprocess

from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.outages.model import Outage, Watch, lead_etcd, other, without_power
from tests.rehearsal.stack import DEPLOY, kill_tree


def deploy_during(writers: Writers) -> tuple[Outage, str]:
    """Somebody deploys while the leader's machine is gone and nobody leads: what was said, too."""
    leader = writers.leader()
    client = other(leader)
    lead_etcd(writers, "witness")
    watch = Watch(writers, "power cut of the leader, and a deploy before another one leads", client)
    with watch.failing(), without_power(writers, leader):
        done = writers.rehearsal.deploy(check=False)
        writers.taken_over(client, writers.settings.mesh[leader], seconds=90)
    watch.outage.notes["deploy"] = done.returncode
    return watch.outage, done.stdout + done.stderr


def dies_in_a_deploy(writers: Writers) -> tuple[Outage, str]:
    """The leader loses power in the midst of a deploy whose change restarts the servers: what was said, too."""
    leader = writers.leader()
    client = other(leader)
    lead_etcd(writers, "witness")
    assert writers.settings.postgres
    more = writers.settings.postgres.max_connections + 10
    watch = Watch(writers, "power cut of the leader in a deploy", client)
    rehearsal = writers.rehearsal
    with writers.writing(client), rehearsal.settings_changed("postgres.max_connections", more):
        deploy = subprocess.Popen(
            DEPLOY,
            cwd=rehearsal.root,
            env={**os.environ, **rehearsal.env},
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            assert deploy.stderr is not None
            said = ""
            while "Starting operation: postgres | what all members share" not in said:
                line = deploy.stderr.readline()
                assert line, f"the deploy ended before its change: {said[-2000:]}"
                said += line
            watch.begins()
            rehearsal.lab("crash", leader)
            said += deploy.stderr.read()
            code = deploy.wait(timeout=200)
        finally:
            if deploy.poll() is None:
                kill_tree(deploy.pid)
            rehearsal.lab("start", leader)
        writers.goes_on(client, seconds=90)
        healed = writers.healed()
        rehearsal.deploy()
        writers.goes_on(client, seconds=20)
    watch.notes["deploy"] = code
    watch.judged(healed)
    return watch.outage, said
