"""What this cloud does not have: lists of it are empty, anything else says so. And what Hetzner has removed."""

from __future__ import annotations

from lab.cloud import catalog
from lab.cloud.call import Call, Handler, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import not_found, removed, unsupported
from lab.cloud.listing import listed
from lab.cloud.locations import locations

# collections that clients list although they use none of them
EMPTY = (
    "certificates", "floating_ips", "isos", "load_balancer_types", "load_balancers", "storage_box_types",
    "storage_boxes",
)  # fmt: skip


def empty_list(collection: str) -> Handler:
    """GET of a collection that has nothing in it."""
    return lambda cloud, call: listed(call, collection, [])


def none_of(collection: str) -> Handler:
    """GET, PUT or DELETE of one thing in such a collection."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        raise not_found(collection, call.path["id"])

    return handler


def cannot_make(collection: str) -> Handler:
    """POST to such a collection."""

    def handler(cloud: Cloud, call: Call) -> Reply:
        raise unsupported(f"the local cloud has no {collection.replace('_', ' ')}")

    return handler


def datacenters(cloud: Cloud, call: Call) -> Reply:
    """Removed on 2026-10-01."""
    announcement = "https://docs.hetzner.cloud/changelog#2026-06-02-datacenters-deprecated"
    raise removed("datacenters were removed: use locations and the locations of server types", announcement)


def pricing(cloud: Cloud, call: Call) -> Reply:
    """GET /pricing: what this cloud has at its catalog's prices, the rest at the provider's of spring 2026."""
    places = [place["name"] for place in locations()]
    monthly = {"ipv4": 0.50, "ipv6": 0.0}
    addresses = [
        {
            "type": kind,
            "prices": [
                {"location": p, "price_hourly": catalog.price(net / 720), "price_monthly": catalog.price(net)}
                for p in places
            ],
        }
        for kind, net in monthly.items()
    ]
    floating = {"ipv4": 3.0, "ipv6": 1.0}
    types = [{"id": t["id"], "name": t["name"], "prices": t["prices"]} for t in catalog.server_types()]
    body = {
        "currency": "EUR",
        "vat_rate": "19.00",
        "image": {"price_per_gb_month": catalog.price(0.011)},
        "floating_ip": {"price_monthly": catalog.price(floating["ipv4"])},
        "floating_ips": [
            {"type": kind, "prices": [{"location": p, "price_monthly": catalog.price(net)} for p in places]}
            for kind, net in floating.items()
        ],
        "load_balancer_types": [],
        "primary_ips": addresses,
        "server_backup": {"percentage": "20.00"},
        "server_types": types,
        "volume": {"price_per_gb_month": catalog.price(0.044)},
    }
    return Reply(200, {"pricing": body})
