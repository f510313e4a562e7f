"""What the cluster's day two is asked by: the deploys of its make targets, and since when its servers run."""

from __future__ import annotations

from bastide.console import Completed, run
from tests.rehearsal.acknowledged import SITES, Writers
from tests.rehearsal.stack import Rehearsal


def day_two(rehearsal: Rehearsal, name: str, *data: str, check: bool = True) -> Completed:
    """One of the deploys for the running cluster, as its make target calls it; a read-only one is asked with --dry."""
    how = ["--dry"] if name == "cluster_status" else ["-y", "--fail-percent", "0"]
    words = ["pyinfra", *how, "hosts/inventory.py", f"deploys/commands/{name}.py"]
    words += [word for one in data for word in ("--data", one)]
    done = run(words, cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=180)
    assert done.ok or not check, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def said(done: Completed) -> str:
    return done.stdout + done.stderr


def begun(writers: Writers) -> dict[str, str]:
    """When each server was started."""
    return {site: writers.sql(site, "select pg_postmaster_start_time()") for site in SITES}
