"""Who hears of what goes wrong: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import ANY, Sabotage

_PROGRAM = "/usr/local/lib/bastide/alerts/bastide_alerts"
_CONFIG = "/etc/bastide/alerts.json"
_UNIT = "bastide-alerts"
_MEMORY = "/var/lib/bastide-alerts/memory.json"
_AGAIN = f"systemctl restart {_UNIT}"
# until the first round is over: what is judged must be of the sabotage, or of its end
_ROUND = (
    f"{{{{ before=$(stat -c %Y {_MEMORY} 2>/dev/null || echo 0); for n in $(seq 600); do"
    f' [ "$(stat -c %Y {_MEMORY} 2>/dev/null || echo 0)" -gt "$before" ] && break; sleep 0.1; done; }}}}'
)


def _json(change: str) -> str:
    """A change of what the program knows, in Python: `c` is the whole of it."""
    return (
        f'cp -p {_CONFIG} /run/alerts.json && python3 -c \'import json, pathlib; p = pathlib.Path("{_CONFIG}");'
        f" c = json.loads(p.read_text()); {change}; p.write_text(json.dumps(c))'"
    )


_BACK = f"mv /run/alerts.json {_CONFIG} && {_AGAIN} && {_ROUND}"

SABOTAGES = (
    Sabotage(
        "alerts-01",
        "stopped, and not started at boot",
        f"{_UNIT}.service is loaded, disabled, inactive",
        f"systemctl disable -q --now {_UNIT}",
        f"systemctl enable -q --now {_UNIT} && {_ROUND}",
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
        "a password that the relay does not take",
        "no message gets out by mail",
        f"cp -p /etc/bastide/alerts/mail_password /run/mail_password && echo wrong > /etc/bastide/alerts/mail_password"
        f" && rm -f {_MEMORY} && {_AGAIN} && {_ROUND}",
        f"mv /run/mail_password /etc/bastide/alerts/mail_password && rm -f {_MEMORY} && {_AGAIN} && {_ROUND}",
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
        "alerts-02",
        "a machine that looks at nobody",
        "it does not read",
        _json('c["peers"] = {{}}') + f" && {_AGAIN} && {_ROUND}",
        _BACK,
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-03",
        "findings for everybody",
        "it listens at 0.0.0.0:7070",
        _json('c["address"] = "0.0.0.0"') + f" && {_AGAIN} && {_ROUND}",
        _BACK,
        ANY,
        everywhere=("alerts",),
    ),
    Sabotage(
        "alerts-04",
        "nobody calls outside any more",
        "no machine's call was answered",
        f"cp -p {_MEMORY} /run/memory.json && systemctl stop {_UNIT} && python3 -c 'import json, pathlib;"
        f' p = pathlib.Path("{_MEMORY}"); m = json.loads(p.read_text());'
        ' m["channels"].pop("heartbeat", None); p.write_text(json.dumps(m))\'',
        f"mv /run/memory.json {_MEMORY} && systemctl start {_UNIT} && {_ROUND}",
        ("witness",),
        everywhere=("alerts",),
    ),
)
