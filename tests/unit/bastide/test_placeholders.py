"""Values of the example are refused where they would count."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bastide.errors import SettingsError
from bastide.settings.placeholders import KEYS, placeholders
from bastide.stackfile import SETTINGS_KEY, load, parse

EXAMPLE = Path(__file__).parents[3] / "stacks" / "Pulumi.example.yaml"


def example() -> Any:
    return load(EXAMPLE)["config"][SETTINGS_KEY]


def test_every_key_of_the_example_is_known() -> None:
    text = EXAMPLE.read_text()
    assert set(re.findall(r"ssh-ed25519 (\S+)", text)) | set(re.findall(r" key: ([A-Za-z0-9+/]{43}=)", text)) == KEYS


def test_the_example_itself_is_for_the_lab_and_for_nothing_else() -> None:
    data = example()
    parse(data, "file")
    del data["lab"]
    with pytest.raises(SettingsError) as caught:
        parse(data, "file")
    said = "\n".join(caught.value.mistakes)
    for place in (
        *("company.name", "company.domain", "company.security_contact", "firewall.operators.0", "firewall.operators.1"),
        *("users.automation.key", "users.people.anna.keys.0", "users.people.bruno.keys.0"),
        *("wireguard.administrators.anna.key", "dns.zones.example.eu", "dns.reverse", "storage.buckets.example-backup"),
    ):
        assert f"settings.{place}: is the example's, not yours" in said, place


@pytest.mark.parametrize(
    "value",
    [
        *("example.org", "www.example.com", "someone@example.net", "192.0.2.17", "2001:db8:17::1", "203.0.113.0/28"),
        *("https://example.com/path", "v=spf1 include:example.org ~all", "CHANGE-ME", "db.internal.test"),
    ],
)
def test_what_can_be_nobodys_own(value: str) -> None:
    assert list(placeholders({"a": (value,)})) == [("a.0", value)]


@pytest.mark.parametrize(
    "value",
    [
        *("example-works.de", "forexample.com", "example.company.fr", "198.51.0.0/16", "2001:db9::1", "0.0.0.0/0"),
        *("a comment for example", "contest.eu", "latest", "10.20.0.11"),
    ],
)
def test_what_may_be_somebodys(value: str) -> None:
    assert list(placeholders({"a": (value,)})) == []


def test_what_is_still_to_be_written_is_said_once() -> None:
    data = example()
    del data["lab"]
    data["firewall"]["operators"] = ["CHANGE-ME"]
    with pytest.raises(SettingsError) as caught:
        parse(data, "file")
    about = [line for line in caught.value.mistakes if "firewall.operators" in line]
    assert len(about) == 1
    assert "is for you to write (got CHANGE-ME)" in about[0]
