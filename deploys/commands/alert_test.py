"""Send a test message through every way of settings.alerts, from each machine or one, and say which way took it.

pyinfra -y hosts/inventory.py deploys/commands/alert_test.py
make alert-test [machine=standby]
"""

from __future__ import annotations

from pyinfra.context import host

from bastide.errors import BastideError
from deploys.operations.alerts import alert_test
from deploys.selection import for_people

with for_people():
    if host.data.settings.alerts is None:
        raise BastideError("the stack file declares no alerts", "write settings.alerts, see docs/how-to/alerts.md")

alert_test(name="test message", _sudo=True)
