"""`settings.users`: which people have accounts, and the account that deploys use."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bastide.settings.common import Area, Name, PublicKey, key_blob


class Automation(Area):
    """The account that deploys and checks use. It is root by sudo, and its key is nobody's own."""

    name: Name = "bastide"
    """Account name."""
    key: PublicKey
    """Its public ssh key; used by deploys and checks only, never by a person."""
    identity: Annotated[str, Field(min_length=1)] = "~/.ssh/bastide"
    """Where the private key lies on the operator's machine (a path, not a secret); relative to the project."""


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
    people: Annotated[dict[Name, Person], Field(default_factory=dict)]
    """People by account name."""
    removed: tuple[Name, ...] = ()
    """People who left: their accounts, keys and sudo rights are removed, and a check proves it."""

    @model_validator(mode="after")
    def _nobody_twice(self) -> Self:
        if both := sorted(set(self.people) & set(self.removed)):
            raise ValueError(f"{', '.join(both)} cannot be in both people and removed")
        if self.automation.name in self.people:
            raise ValueError(f"{self.automation.name} is the automation account and cannot be a person's too")
        if self.automation.name in self.removed or "root" in self.removed:
            raise ValueError("removed must not name root or the automation account: that would lock everyone out")
        if len(set(self.removed)) != len(self.removed):
            raise ValueError("removed names somebody twice")
        owners: dict[str, str] = {key_blob(self.automation.key): self.automation.name}
        for name, person in self.people.items():
            for key in person.keys:
                other = owners.setdefault(key_blob(key), name)
                if other != name:
                    raise ValueError(f"{name} and {other} have the same key: a key belongs to one account")
        return self
