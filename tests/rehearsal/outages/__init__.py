"""The failures of the database cluster: each is made while rows are written, mended, and judged by what was told.

They leave a cluster that is well; whoever led last leads on. The tests and the benchmark use the same ones.
"""

from __future__ import annotations

from tests.rehearsal.outages.deploys import deploy_during, dies_in_a_deploy
from tests.rehearsal.outages.lines import clients_cut_off, cut_off, sites_apart, slow_lines
from tests.rehearsal.outages.machines import POWER_CUT, all_rebooted, full_disk, lost, power_cut
from tests.rehearsal.outages.model import Outage, other
from tests.rehearsal.outages.servers import never_down, postgres_killed, postgres_stopped, switchover, wrong_clock

__all__ = [
    "POWER_CUT",
    "Outage",
    "all_rebooted",
    "clients_cut_off",
    "cut_off",
    "deploy_during",
    "dies_in_a_deploy",
    "full_disk",
    "lost",
    "never_down",
    "other",
    "postgres_killed",
    "postgres_stopped",
    "power_cut",
    "sites_apart",
    "slow_lines",
    "switchover",
    "wrong_clock",
]
