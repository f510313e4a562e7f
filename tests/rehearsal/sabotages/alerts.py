"""Who hears of what goes wrong: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import ANY, PRIMARY, WITNESS, Sabotage

_PROGRAM = "/usr/local/lib/bastide/alerts/bastide_alerts"
_CONFIG = "/etc/bastide/alerts.json"
_UNIT = "bastide-alerts"
_TELLS = "bastide-alerts-cluster.socket"
_MEMORY = "/var/lib/bastide-alerts/memory.json"
_AGAIN = f"systemctl restart {_UNIT}"
_FILE = f"/etc/systemd/system/{_UNIT}.service.d/zz-sabotage.conf"
_DROP_IN = f"mkdir -p $(dirname {_FILE})"
_RELOAD = f"systemctl daemon-reload && {_AGAIN}"
# its first call, which comes when it knows who is there
_CALLED = f'for n in $(seq 300); do grep -q \'"heartbeat": {{{{[^}}}}]*"ok": true\' {_MEMORY} && break; sleep 0.1; done'


def _json(change: str) -> str:
    """A change of what the program knows, in Python: `c` is the whole of it."""
    return (
        f'cp -p {_CONFIG} /run/alerts.json && python3 -c \'import json, pathlib; p = pathlib.Path("{_CONFIG}");'
        f" c = json.loads(p.read_text()); {change}; p.write_text(json.dumps(c))'"
    )


_BACK = f"mv /run/alerts.json {_CONFIG} && {_AGAIN}"

SABOTAGES = (
    Sabotage(
        "alerts-01",
        "stopped, and not started at boot",
        f"{_UNIT}.service is loaded, disabled, inactive",
        f"systemctl disable -q --now {_UNIT}",
        f"systemctl enable -q --now {_UNIT}",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "a program that finds nothing",
        "the program is another one",
        f"cp -p {_PROGRAM}/findings.py /run/findings.py"
        f" && echo 'failed_units = lambda: iter(())' >> {_PROGRAM}/findings.py",
        f"mv /run/findings.py {_PROGRAM}/findings.py",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "an account that nobody knows by name",
        "it cannot look at its units",
        f"{_DROP_IN} && printf '[Service]\\nUser=bastide-somebody\\nDynamicUser=yes\\n' > {_FILE} && {_RELOAD}",
        f"rm {_FILE} && {_RELOAD}",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "a password that the relay does not take",
        "no message gets out by mail",
        f"cp -p /etc/bastide/alerts/mail_password /run/mail_password && echo wrong > /etc/bastide/alerts/mail_password"
        f" && {_AGAIN}",
        f"mv /run/mail_password /etc/bastide/alerts/mail_password && {_AGAIN}",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "a disk is full when nothing more goes onto it",
        "a disk is full for it at 100 %",
        _json('c["disk_percent"] = 100'),
        f"mv /run/alerts.json {_CONFIG}",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "mail to somebody else",
        "mail goes to other people than declared",
        _json('c["mail"]["recipients"] = ["somebody@example.org"]'),
        f"mv /run/alerts.json {_CONFIG}",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "mail by a relay of somebody else's",
        "mail goes by another relay than declared: 127.0.0.2",
        _json('c["mail"]["host"] = "127.0.0.2"'),
        f"mv /run/alerts.json {_CONFIG}",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "a unit that is told to start on a condition that never holds",
        f"{_UNIT}.service is told otherwise by {_FILE}",
        f"{_DROP_IN} && printf '[Unit]\\nConditionPathExists=/nonexistent\\n' > {_FILE} && systemctl daemon-reload",
        f"rm {_FILE} && systemctl daemon-reload",
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-02",
        "a machine that looks at nobody",
        "it does not read",
        _json('c["peers"] = {{}}') + f" && {_AGAIN}",
        _BACK,
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-02",
        "nobody looks at the databases",
        "it looks at the databases of other sites",
        _json('c["cluster"] = None') + f" && {_AGAIN}",
        _BACK,
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-01",
        "nobody who tells how the cluster is",
        "it cannot look at its database",
        f"systemctl stop {_TELLS} && {_AGAIN}",
        f"systemctl start {_TELLS} && {_AGAIN}",
        PRIMARY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-03",
        "findings for everybody",
        "it listens at 0.0.0.0:7070",
        _json('c["address"] = "0.0.0.0"') + f" && {_AGAIN}",
        _BACK,
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-04",
        "nobody calls outside any more",
        "call",
        _json('c["heartbeat_minutes"] = None')
        + f' && systemctl stop {_UNIT} && python3 -c \'import json, pathlib; p = pathlib.Path("{_MEMORY}");'
        ' m = json.loads(p.read_text()); m["channels"].pop("heartbeat", None); p.write_text(json.dumps(m))\''
        f" && systemctl start {_UNIT}",
        f"{_BACK} && {_CALLED}",
        WITNESS,
        everywhere=("alerts",),
    ),
)
