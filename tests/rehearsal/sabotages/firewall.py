"""What can be reached: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import LOAD_RULES, NFT, SAVE_RULES, Sabotage, changed_rules

_RULES = "/etc/bastide/firewall.nft"


def _hole(control: str, what: str, says: str, port: int, networks: list[str]) -> Sabotage:
    """A service that somebody opened in both firewalls."""
    family = "ipv6" if ":" in networks[0] else "ipv4"
    listener = f"import socket, time; s = socket.create_server((str(), {port}), family=socket.AF_INET6"
    listener += ", dualstack_ipv6=True); time.sleep(600)"
    return Sabotage(
        control,
        what,
        says,
        f"{SAVE_RULES} && nft insert rule inet bastide input meta nfproto {family} tcp dport {port} accept"
        f" && systemd-run -q --collect --unit=hole python3 -c '{listener}'",
        f"systemctl stop hole; {LOAD_RULES}",
        touches=(NFT,),
        opened=({"direction": "in", "protocol": "tcp", "port": str(port), "source_ips": networks},),
    )


SABOTAGES = (
    _hole("firewall-01", "a service opened to everybody", "tcp/8080 (open)", 8080, ["0.0.0.0/0"]),
    _hole("firewall-01", "a database opened to everybody", "tcp/3306 (open)", 3306, ["0.0.0.0/0"]),
    _hole("firewall-02", "a service opened over IPv6 only", "tcp/8080 (open)", 8080, ["::/0"]),
    changed_rules(
        "firewall-01",
        "both halves of the internet, by a set",
        "not declared: tcp/3306 is open to 0.0.0.0/0",
        "nft add set inet bastide halves '{{ type ipv4_addr; flags interval; }}'"
        " && nft add element inet bastide halves '{{ 0.0.0.0/1, 128.0.0.0/1 }}'"
        " && nft insert rule inet bastide input ip saddr @halves tcp dport 3306 accept",
    ),
    changed_rules(
        "firewall-02",
        "all public addresses, for a range of ports, by a chain of its own",
        "not declared: udp/1000-2000 is open to 2000::/3",
        "nft add chain inet bastide more && nft add rule inet bastide more udp dport 1000-2000 accept"
        " && nft insert rule inet bastide input ip6 saddr 2000::/3 jump more",
    ),
    Sabotage(
        "firewall-01",
        "the provider's firewall is open to most of the internet, not to who looks",
        "the provider's firewall: tcp/5432 is open to 0.0.0.0/1",
        "true",
        "true",
        touches=("the provider's firewall",),
        opened=({"direction": "in", "protocol": "tcp", "port": "5432", "source_ips": ["0.0.0.0/1"]},),
    ),
    changed_rules(
        "firewall-01",
        "an open port leads elsewhere, by a table of its own",
        "a rule leads packets elsewhere: redirect to 5432 in ip elsewhere prerouting",
        "nft add table ip elsewhere"
        " && nft add chain ip elsewhere prerouting '{{ type nat hook prerouting priority dstnat; }}'"
        " && nft add rule ip elsewhere prerouting tcp dport 443 redirect to :5432",
    ),
    changed_rules(
        "firewall-02",
        "a port is written over, without any NAT",
        "a rule leads packets elsewhere: another dport in inet bastide over",
        "nft add chain inet bastide over '{{ type filter hook prerouting priority mangle; }}'"
        " && nft add rule inet bastide over meta nfproto ipv6 tcp dport 443 tcp dport set 5432",
    ),
    changed_rules(
        "firewall-03",
        "nobody tracks what comes, and what is not tracked is let in",
        "not declared: udp/0-67 is open to 0.0.0.0/0",
        "nft add chain inet bastide raw '{{ type filter hook prerouting priority raw; }}'"
        " && nft add rule inet bastide raw tcp dport 20000-20001 notrack"
        " && nft insert rule inet bastide input ct state untracked accept",
    ),
    changed_rules(
        "firewall-03",
        "one neighbour is trusted",
        "(primary in the private network)",
        "nft insert rule inet bastide input ip saddr {private_primary} accept",
        machines=("standby", "witness"),
    ),
    changed_rules(
        "firewall-03",
        "neighbours are trusted over UDP",
        "a neighbour gets through to udp/",
        "nft insert rule inet bastide input ip saddr {network} meta l4proto udp accept",
    ),
    changed_rules(
        "firewall-03",
        "the rules are flushed; the provider's firewall still stands",
        "a neighbour gets through to",
        "nft flush ruleset",
        touches=("fail2ban",),
    ),
    changed_rules(
        "firewall-03",
        "what is not named is let in",
        "what is not named is let in over IPv4",
        "nft chain inet bastide input '{{ policy accept; }}'",
    ),
    changed_rules(
        "firewall-03",
        "the private network is trusted",
        "a neighbour gets through to",
        "nft insert rule inet bastide input ip saddr {network} accept",
    ),
    changed_rules(
        "firewall-03",
        "IPv6 was forgotten",
        "a rule lets everything in over IPv6",
        "nft insert rule inet bastide input meta nfproto ipv6 accept",
    ),
    changed_rules(
        "firewall-04",
        "the metadata rule is gone",
        "an account without rights gets an answer",
        "nft flush chain inet bastide output",
        touches=("metadata",),
    ),
    changed_rules(
        "firewall-04",
        "the metadata rule names one account only",
        "an account without rights gets an answer",
        "nft flush chain inet bastide output"
        " && nft add rule inet bastide output ip daddr 169.254.169.254 meta skuid 33 drop",
        touches=("metadata",),
    ),
    changed_rules(
        "firewall-04",
        "the metadata rule forgets IPv6",
        "an account without rights gets an answer (nobody over IPv6",
        "nft insert rule inet bastide output ip6 daddr fe80::a9fe:a9fe accept",
        touches=("metadata",),
    ),
    changed_rules(
        "firewall-04",
        "containers were forgotten",
        "forwarded traffic may go to 169.254.169.254",
        "nft flush chain inet bastide forward && nft chain inet bastide forward '{{ policy accept; }}'",
    ),
    changed_rules(
        "firewall-04",
        "one account of a service may ask the metadata service",
        "an account that is not root may go to 169.254.169.254",
        "nft insert rule inet bastide output ip daddr 169.254.169.254 meta skuid 33 accept",
        touches=("metadata",),
    ),
    changed_rules(
        "firewall-04",
        "what is forwarded is let through before the rule that turns it away",
        "forwarded traffic may go to 169.254.169.254",
        "nft insert rule inet bastide forward iifname podman0 accept",
        touches=("metadata",),
    ),
    Sabotage(
        "firewall-04",
        "what the metadata service told lies there for everybody",
        "an account without rights reads /var/lib/cloud/instances/",
        "chmod 644 /var/lib/cloud/instances/*/user-data.txt",
        "chmod 600 /var/lib/cloud/instances/*/user-data.txt",
    ),
    Sabotage(
        "firewall-03",
        "the rules are as they should be, and will not be after a restart",
        "bastide-firewall.service is loaded, disabled, active",
        "systemctl -q disable bastide-firewall",
        "systemctl -q enable bastide-firewall",
        touches=("the firewall's unit",),
    ),
    Sabotage(
        "firewall-03",
        "the file that the next start reads opens a port",
        "after a restart: not declared: tcp/8080 is open to ",
        f"cp -p {_RULES} /run/firewall.nft && sed -i '/ct state invalid drop/i tcp dport 8080 accept' {_RULES}",
        f"mv /run/firewall.nft {_RULES}",
        touches=("the firewall's file",),
    ),
)
