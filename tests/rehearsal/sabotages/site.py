"""Where the servers stand: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import ANY, PRIMARY, STANDBY, Order, Sabotage

_LIAR = """import http.server
class Liar(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"{region}" if self.path.endswith("region") else b"{zone}"
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *words): pass
http.server.HTTPServer(("169.254.169.254", 80), Liar).serve_forever()
"""


def _liar(control: str, what: str, says: str, region: str, zone: str, machines: tuple[str, ...] = ANY) -> Sabotage:
    """A metadata service of its own, that tells another place: how a machine that stands elsewhere would answer."""
    program = _LIAR.replace("{region}", region).replace("{zone}", zone).replace("{", "{{").replace("}", "}}")
    return Sabotage(
        control,
        what,
        says,
        f"cat > /run/liar.py <<'END'\n{program}END\n"
        "ip address add 169.254.169.254/32 dev lo && systemd-run -q --unit=liar python3 /run/liar.py"
        " && for i in 1 2 3 4 5 6 7; do curl -s -m 1 -o /dev/null http://169.254.169.254/ && break; sleep 0.1; done",
        "systemctl stop liar; ip address del 169.254.169.254/32 dev lo; rm -f /run/liar.py",
        machines,
        touches=("metadata",),
    )


def _elsewhere(control: str, what: str, says: str, place: str) -> Sabotage:
    """The provider says that the primary stands in another place: as of one that was really made there, which takes
    minutes. Its API and the machine's metadata tell the same."""
    fault = Order("POST", "/_lab/faults", {"stands_in": place, "server": "{primary.name}"})
    cleared = Order("DELETE", "/_lab/faults")
    return Sabotage(
        control, what, f"{says} (the provider says so)", "true", "true", PRIMARY, touches=("metadata",),
        orders=(fault,), taken_back=(cleared,),
    )  # fmt: skip


SABOTAGES = (
    _liar("site-01", "a server in the United States", "it stands in ash", "us-east", "ash-dc1"),
    _liar("site-02", "the standby in the primary's country", "both stand in", "eu-central", "nbg1-dc3", STANDBY),
    _elsewhere("site-01", "the primary in Oregon", "it stands in hil, which is not a location in the EU", "hil"),
    _elsewhere("site-02", "the primary in the standby's country", "both stand in Finland", "hel1"),
)
