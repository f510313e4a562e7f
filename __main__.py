"""The Pulumi program: what the provider is to make. Wiring only; the components are in stacks/."""

import pulumi

from bastide.errors import BastideError
from stacks.config import dns_token, read_config, read_storage_keys
from stacks.dns import Dns, site_addresses
from stacks.firewall import CloudFirewall
from stacks.network import PrivateNetwork
from stacks.outputs import export_machines
from stacks.servers import Servers
from stacks.storage import ObjectStorage
from stacks.volumes import Volumes

try:
    settings, keyring = read_config()
    storage_keys = read_storage_keys() if settings.storage else None
except BastideError as error:
    raise pulumi.RunError(f"{error.message}\nnext: {error.hint}") from None

# a stack of existing servers alone makes nothing at the provider
network = PrivateNetwork("network", settings) if settings.made else None
firewall = CloudFirewall("firewall", settings) if settings.made else None
if settings.storage and storage_keys:
    ObjectStorage("storage", settings.storage, storage_keys, protect=settings.protection)
servers = Servers("servers", settings, keyring, network, firewall)
if settings.dns is not None:
    Dns("dns", settings, settings.dns, site_addresses(settings, servers), dns_token())
volumes = Volumes("volumes", settings.volumes, servers, settings) if settings.volumes else None
export_machines(settings, servers, volumes)
