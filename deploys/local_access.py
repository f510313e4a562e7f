"""Ports of a machine that only certain of its own accounts may speak to: a table of its own for each capability.

A compromised application on the same machine comes from inside, past every rule on input.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastide.layout.postgres import ACCOUNT
from deploys.facts.accounts import ACCOUNTS
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.nftables import TABLES
from deploys.operations.accounts import no_login
from deploys.operations.files import File, files, files_request
from deploys.render import render


@dataclass(frozen=True)
class LocalAccess:
    """What is closed: `ports` at `addresses`, to all local accounts but `accounts` (which must exist when it loads)."""

    capability: str
    what: str
    ports: tuple[int, ...]
    addresses: tuple[str, ...]
    accounts: tuple[str, ...]

    @property
    def table(self) -> str:
        """The nftables table (family inet)."""
        return f"bastide_{self.capability}"

    @property
    def unit(self) -> str:
        """What loads it, before any interface is up."""
        return f"bastide-{self.capability}-guard.service"

    @property
    def rules(self) -> str:
        """The file that is loaded."""
        return f"/etc/bastide/{self.capability}-guard.nft"

    def files(self) -> tuple[File, ...]:
        """The rules and their unit."""
        values = {"capability": self.capability, "what": self.what, "rules": self.rules, "table": self.table}
        text = render(
            "local_access/access.nft.j2", ports=self.ports, addresses=self.addresses, accounts=self.accounts, **values
        )
        return (
            File(self.rules, text, check="nft -c -f"),
            File(f"/etc/systemd/system/{self.unit}", render("local_access/access.service.j2", **values)),
        )

    def settle(self) -> str:
        """The shell line that loads the rules and records what the kernel made of them.

        Never a restart of the unit: that would restart what requires it, the etcd members of all machines at once.
        """
        return (
            f"systemctl daemon-reload && systemctl -q enable {self.unit} || exit 1\n"
            f"systemctl start {self.unit} && systemctl reload {self.unit} || exit 1\n"
            f"nft -s list table inet {self.table} | sha256sum | cut -d' ' -f1 >/var/lib/bastide/{self.table}.loaded"
        )

    def drift(self, facts: Facts) -> str:
        """Why it is not in force although its files may be as wanted; "" when it is."""
        table = facts[TABLES][self.table]
        if not table["live"]:
            return "the rules are not loaded"
        return "" if table["live"] == table["loaded"] else "the loaded rules were changed by somebody"

    def fact_request(self) -> FactRequest:
        """All that is asked for it."""
        account = ACCOUNTS.request([ACCOUNT]) if ACCOUNT in self.accounts else {}
        return merged(files_request(self.files()), TABLES.request([self.table]), account)


def close_to_others(access: LocalAccess, facts: Facts) -> None:
    """Set it up, as part of a deploy: once the packages are there that make the accounts."""
    if ACCOUNT in access.accounts:
        no_login(name="account of the database's packages", account=ACCOUNT)
    files(
        name="closed to other accounts",
        name_=f"{access.capability}-guard",
        wanted=access.files(),
        settle=access.settle(),
        drift=access.drift(facts),
    )
