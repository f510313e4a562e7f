"""How the servers talk to each other: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import LOAD_RULES, SAVE_RULES, STANDBY, Sabotage, changed_rules

_CUT = "two servers no longer reach each other, so the databases have no standby"
_PEER = "$(wg show wg0 allowed-ips | grep -F '{mesh_primary}/32' | cut -f1)"
# the others keep a dead session for 15 s (WireGuard's KEEPALIVE + REKEY_TIMEOUT), unless they are spoken to
_SPEAK = "wg show wg0 allowed-ips | cut -f2 | cut -d/ -f1 | xargs -n 1 -P 8 ping -n -q -c 1 -W 1 || true"
_AS_DECLARED = f"wg-quick strip wg0 | wg syncconf wg0 /dev/stdin; {_SPEAK}"
_ECHO = (
    "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind((str(), {mesh_port}))\\n"
    "while True: s.sendto(*s.recvfrom(2048))"
)


def _changed_peers(control: str, what: str, says: str, commands: str, *, alone: str = "") -> Sabotage:
    """Peers that somebody set by hand."""
    return Sabotage(control, what, says, commands, _AS_DECLARED, machines=STANDBY, touches=("peers",), alone=alone)


SABOTAGES = (
    Sabotage(
        "wireguard-01",
        "a route that goes past the mesh, and a rule that lets it",
        "a message leaves in the open: to primary",
        "ip route add {mesh_primary} $(ip route get {private_primary} | grep -o 'via [^ ]* dev [^ ]*')"
        f" && {SAVE_RULES} && nft insert rule inet bastide output ip daddr {{mesh}} accept",
        f"ip route del {{mesh_primary}}; {LOAD_RULES}",
        STANDBY,
        alone=_CUT,
    ),
    _changed_peers(
        "wireguard-02",
        "a peer that may send in everybody's name",
        "may send as 0.0.0.0/0",
        f"wg set wg0 peer {_PEER} allowed-ips 0.0.0.0/0",
    ),
    _changed_peers(
        "wireguard-02",
        "a peer that nobody declared",
        "a peer that nobody declared may send as",
        "wg set wg0 peer $(wg genkey | wg pubkey) allowed-ips {mesh_stranger}/32",
    ),
    Sabotage(
        "wireguard-02",
        "a peer that nobody declared, from the next start on",
        "after a restart a peer may send as",
        "cp -p /etc/wireguard/wg0.conf /etc/wireguard/saved && printf '[Peer]\\nPublicKey = %s\\nAllowedIPs = %s\\n'"
        " $(wg genkey | wg pubkey) {mesh_stranger}/32 >> /etc/wireguard/wg0.conf",
        "mv /etc/wireguard/saved /etc/wireguard/wg0.conf",
        touches=("wg0.conf",),
    ),
    Sabotage(
        "wireguard-04",
        "a mesh that nobody starts again",
        "wg-quick@wg0.service is loaded, disabled, active",
        "systemctl -q disable wg-quick@wg0",
        "systemctl -q enable wg-quick@wg0",
    ),
    Sabotage(
        "wireguard-02",
        "a private key that everybody on the server can read",
        "others can read /etc/wireguard",
        "chmod 755 /etc/wireguard && chmod 644 /etc/wireguard/wg0.conf",
        "chmod 700 /etc/wireguard && chmod 600 /etc/wireguard/wg0.conf",
    ),
    changed_rules(
        "wireguard-03",
        "whoever is in the mesh is trusted",
        "a server in the mesh gets through to",
        "nft insert rule inet bastide input iifname wg0 accept",
    ),
    changed_rules(
        "wireguard-03",
        "addresses of the mesh are taken from everywhere",
        "a packet with an address of the mesh is taken from outside",
        "nft delete rule inet bastide input handle"
        " $(nft -a list chain inet bastide input | grep 'ip saddr {mesh} iifname' | sed 's/.* //')",
    ),
    Sabotage(
        "wireguard-03",
        "a service on its port that answers whoever asks",
        "a stranger gets an answer from UDP",
        f"systemctl stop wg-quick@wg0 && systemd-run -q --unit=echo python3 -c \"$(printf '{_ECHO}')\"",
        f"systemctl stop echo; systemctl start wg-quick@wg0; {_SPEAK}",
        STANDBY,
        alone=_CUT,
    ),
    _changed_peers(
        "wireguard-04",
        "a server that was taken out of the mesh by hand",
        "no answer over the mesh from primary",
        f"wg set wg0 peer {_PEER} remove",
        alone=_CUT,
    ),
)
