"""The judge itself: it must find what is wrong, and the coverage page must be fresh."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.cloud import coverage
from lab.cloud.urls import operations
from tests.cloud.conftest import Api
from tests.cloud.contract import Contract, NotAsPublished


def location(**change: Any) -> bytes:
    value = {
        "id": 1, "name": "fsn1", "description": "d", "country": "DE", "city": "c", "latitude": 1.0, "longitude": 1.0,
        "network_zone": "eu-central", **change,
    }  # fmt: skip
    return json.dumps({"location": {k: v for k, v in value.items() if v is not ...}}).encode()


def test_it_accepts_what_is_published(contract: Contract) -> None:
    contract.judge("GET", "/locations/1", 200, location())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"city": ...}, "'city' is a required property"),
        ({"city": None}, "None is not of type 'string'"),
        ({"id": "1"}, "'1' is not of type 'integer'"),
        ({"name": "FSN 1"}, "does not match"),
        ({"mayor": "x"}, "'mayor' was unexpected"),
    ],
)
def test_it_finds_what_is_wrong(contract: Contract, change: dict[str, Any], said: str) -> None:
    with pytest.raises(NotAsPublished, match=said):
        contract.judge("GET", "/locations/1", 200, location(**change))


def test_it_knows_statuses_and_operations(contract: Contract) -> None:
    for method, path, status in (
        ("GET", "/locations/1", 201),
        ("POST", "/locations", 201),
        ("GET", "/datacenters", 200),
    ):
        with pytest.raises(NotAsPublished, match=r"only knows|no such operation"):
            contract.judge(method, path, status, location())
    with pytest.raises(NotAsPublished, match="error"):
        contract.judge("GET", "/locations/1", 404, b"{}")


def test_the_overlay_is_laid_over(api: Api, contract: Contract) -> None:
    server = api.ok("GET", f"/servers/{api.server()['id']}")
    assert "datacenter" not in server["server"]
    server["server"]["datacenter"] = None
    with pytest.raises(NotAsPublished, match="'datacenter' was unexpected"):
        contract.judge("GET", "/servers/1", 200, json.dumps(server).encode())


def test_every_operation_here_is_published(contract: Contract) -> None:
    published = {
        (method.upper(), coverage._plain(path))
        for path, item in contract.description["paths"].items()
        for method in item
        if method != "servers"
    }
    # these collections get all five verbs for the sake of one clear answer
    extra = {("POST", "/isos"), ("PUT", "/isos/{}"), ("DELETE", "/isos/{}"), ("POST", "/load_balancer_types"),
             ("PUT", "/load_balancer_types/{}"), ("DELETE", "/load_balancer_types/{}"), ("POST", "/storage_box_types"),
             ("PUT", "/storage_box_types/{}"), ("DELETE", "/storage_box_types/{}")}  # fmt: skip
    assert {(method, coverage._plain(path)) for method, path, _ in operations()} - published == extra


def test_the_coverage_page_is_fresh() -> None:
    assert coverage.PAGE.read_text() == coverage.page(), "run: python -m lab.cloud.coverage"
