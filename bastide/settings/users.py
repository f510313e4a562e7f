"""`settings.users`: which people have accounts, and the account that deploys use."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Area, Name, PublicKey, key_blob

# Debian's own users and groups (base-passwd, files passwd.master and group.master), and those of packages that every
# machine has: as a person's name each of them would be refused by useradd(8) in the midst of a deploy, or worse not
_SYSTEM = {
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data",
    "backup", "list", "irc", "nobody", "nogroup", "adm", "tty", "disk", "kmem", "dialout", "fax", "voice", "cdrom",
    "floppy", "tape", "sudo", "audio", "dip", "operator", "src", "shadow", "utmp", "video", "sasl", "plugdev",
    "staff", "users", "sshd", "messagebus", "crontab", "sugroup",
}  # fmt: skip
# those that the platform's own packages make
_SERVICES = {"bastide-alerts", "etcd", "haproxy", "pgbouncer", "postgres"}


def _path(value: str) -> str:
    if "PRIVATE KEY" in value:
        raise ValueError("is a private key itself; it names the file that one lies in")
    return value


class Automation(Area):
    """The account that deploys and checks use. It is root by sudo, and its key is nobody's own."""

    name: Name = "bastide"
    """Account name."""
    key: PublicKey
    """Its public ssh key; used by deploys and checks only, never by a person."""
    identity: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_path)] = "~/.ssh/bastide"
    """Where the private key lies on the operator's machine (a path, not a secret); relative to the project."""


class Verification(Area):
    """An account for checks alone (from CI, say): it gets no shell, and is root for the checks' listed scripts only."""

    name: Name = "verify"
    """Account name."""
    keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Its public ssh keys; they open no other account. To take the account away, leave out `verification`."""
    identity: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_path)] = "~/.ssh/bastide-verify"
    """Where its private key lies for whoever runs the checks with it; relative to the project."""


class Person(Area):
    """A person with an account on every machine."""

    keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Public ssh keys. All others are removed from the account."""
    sudo: bool = False
    """Whether the person may become root."""


class Users(Area):
    """Everyone who can log in. Whoever is not named here cannot."""

    automation: Automation
    """The account that deploys and checks use."""
    verification: Verification | None = None
    """The account that checks use where the automation key is not to be (CI); leave it out for none."""
    people: Annotated[dict[Name, Person], Field(default_factory=dict)]
    """People by account name."""
    removed: tuple[Name, ...] = ()
    """People who left: their accounts, keys and sudo rights are removed, and a check proves it."""

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        if both := sorted(set(self.people) & set(self.removed)):
            raise ValueError(f"{', '.join(both)} cannot be in both people and removed")
        if system := sorted({self.automation.name, *self.people, *self.removed} & _SYSTEM):
            raise ValueError(f"{', '.join(system)}: a name of Debian's own, and no person's; choose another")
        if self.automation.name in self.people:
            raise ValueError(f"{self.automation.name} is the automation account and cannot be a person's too")
        if self.automation.name in self.removed:
            raise ValueError("removed must not name the automation account: that would lock everyone out")
        if len(set(self.removed)) != len(self.removed):
            raise ValueError("removed names somebody twice")
        if self.verification:
            self._nobodys_account(self.verification)
        owners: dict[str, str] = {key_blob(self.automation.key): self.automation.name}
        holders = {name: person.keys for name, person in self.people.items()}
        if self.verification:
            holders[self.verification.name] = self.verification.keys
        for name, keys in holders.items():
            for key in keys:
                other = owners.setdefault(key_blob(key), name)
                if other != name:
                    raise ValueError(f"{name} and {other} have the same key: a key belongs to one account")
        return self

    def _nobodys_account(self, one: Verification) -> None:
        """Raise `ValueError` when the account of the checks is somebody's, or would be."""
        taken = {self.automation.name: "the automation account", **dict.fromkeys(self.people, "a person")}
        taken |= dict.fromkeys(self.removed, "in removed")
        taken |= dict.fromkeys(_SYSTEM | _SERVICES, "an account of the system")
        if one.name in taken:
            raise ValueError(f"verification.name: {one.name} is {taken[one.name]}; choose another name")
