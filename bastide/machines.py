"""What exists: the machines as the provider made them, and the secret-free inventory that checks run from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bastide.errors import StackError
from bastide.files import write_whole
from bastide.settings import EU_LOCATIONS, Location, Provider, Role
from bastide.settings.servers import EU_COUNTRIES

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Machine:
    """One machine of the platform.

    `id` is the provider's, `generation` the stack file's; `address` and `address6` are public, `private_address` is
    that in the private network, "" where there is none. `host_key` is the recorded public ssh host key ("ssh-ed25519
    AAAA..."), "" before the first connection. A machine that somebody else made (`provider` is "existing") says whose
    it is (`hoster`) and where it stands (`city` and `country_code`, ISO 3166-1 alpha-2); its `address6` may be "".
    `volume` is the path of its volume's device, "" where it has none.
    """

    name: str
    role: Role
    location: str
    id: str
    generation: int
    address: str
    address6: str
    private_address: str
    host_key: str = ""
    provider: Provider = "hetzner"
    hoster: str = "Hetzner"
    city: str = ""
    country_code: str = ""
    volume: str = ""

    @property
    def place(self) -> Location:
        """Where it stands: as the provider's API says, or as its owner does."""
        if self.provider == "hetzner":
            return EU_LOCATIONS[self.location]
        return Location(self.city, self.country_code, EU_COUNTRIES[self.country_code])

    @property
    def country(self) -> str:
        """ISO 3166-1 alpha-2 code of where it stands."""
        return self.place.country

    def address_for(self, other: Machine) -> str:
        """Where `other` reaches it, and what it is seen as from there: privately when both are in that network."""
        return self.private_address if self.private_address and other.private_address else self.address

    def to_json(self) -> dict[str, Any]:
        """What `pyinfra ... debug-inventory` prints of it."""
        return asdict(self)


@dataclass(frozen=True)
class Prober:
    """A machine outside of the platform that looks at it as a stranger would. Reached by ssh as `user`."""

    name: str
    user: str
    address: str
    address6: str
    host_key: str


@dataclass(frozen=True)
class Inventory:
    """All that a check needs to reach the machines; holds no secret.

    `user` is the automation account, `identity` the path of its private key, `port` that of ssh. `resolver` is the
    address of the name server that knows the stack's names, "" where the whole internet does. `mesh` are the addresses
    by name at which ssh answers when it is open to the mesh only. `verifier` is the account of the checks, "" for none,
    `verifier_identity` the path of its private key. `authorities` are those whose certificates the databases and their
    voters trust: by purpose, the SHA-256 of what is trusted for it.
    """

    stack: str
    environment: str
    user: str
    identity: str
    port: int
    machines: tuple[Machine, ...]
    prober: Prober | None = None
    resolver: str = ""
    mesh: dict[str, str] = field(default_factory=dict)
    verifier: str = ""
    verifier_identity: str = ""
    authorities: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a file (`load_inventory`)."""
        return {"version": SCHEMA_VERSION, **asdict(self)}

    def ssh_address(self, machine: Machine) -> str:
        """Where ssh answers on a machine."""
        return self.mesh.get(machine.name, machine.address)

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines)

    def __getitem__(self, name: str) -> Machine:
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise StackError(
            f"no machine is called {name}", f"the stack {self.stack} has {', '.join(m.name for m in self.machines)}"
        )


def build_dir(stack: str, root: Path = Path()) -> Path:
    """The git-ignored folder for everything that is made for a stack."""
    return root / "build" / stack


def inventory_path(stack: str, root: Path = Path()) -> Path:
    """Where the inventory of a stack is written."""
    return build_dir(stack, root) / "inventory.json"


def ssh_config_path(stack: str, root: Path = Path(), *, gated: bool = False) -> Path:
    """Where the configuration of ssh clients is written: of people and deploys, or (`gated`) of the checks' account."""
    return build_dir(stack, root) / ("verify.ssh_config" if gated else "ssh_config")


def save_inventory(inventory: Inventory, path: Path) -> None:
    """Write the inventory, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(inventory.to_json(), indent=2) + "\n"
    write_whole(path, text)


def load_inventory(path: Path) -> Inventory:
    """Read an inventory. Raises `StackError` when it is missing, or of another version."""
    stack = path.parent.name
    hint = f"run `make inventory stack={stack}` first; where there are no machines yet, `make up stack={stack}`"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StackError(f"{path} does not exist", hint) from None
    return inventory_from(text, str(path), hint)


def inventory_from(text: str, path: str, hint: str) -> Inventory:
    """The inventory in a text. Raises `StackError`, which names where it is from (`path`), when it is none."""
    try:
        data: dict[str, Any] = json.loads(text)
    except ValueError:
        raise StackError(f"{path} is not JSON", hint) from None
    if data.pop("version", None) != SCHEMA_VERSION:
        raise StackError(f"{path} was written by another version of Bastide", hint)
    try:
        machines = tuple(Machine(**item) for item in data.pop("machines"))
        prober = data.pop("prober", None)
        return Inventory(machines=machines, prober=Prober(**prober) if prober else None, **data)
    except (TypeError, KeyError) as error:
        raise StackError(f"{path} does not have the expected fields: {error}", hint) from None


def machine_from(data: dict[str, Any]) -> Machine:
    """A machine from a stack output. Raises `StackError` when a field is missing or not known."""
    names = {one.name for one in fields(Machine)}
    required = {one.name for one in fields(Machine) if one.default is MISSING}
    if set(data) - names or required - set(data):
        raise StackError(
            f"the stack's output for {data.get('name', '?')} has other fields than expected", "run `pulumi up`"
        )
    return Machine(**data)


def identity_path(identity: str, root: Path) -> Path:
    """The absolute path of a private key as settings name it: `~` or relative to the project."""
    return Path(os.path.abspath(root / Path(identity).expanduser()))  # noqa: PTH100 - a link must stay the link
