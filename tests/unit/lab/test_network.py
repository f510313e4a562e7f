"""A network is ready when its last step is done and both halves of its seal are loaded: `lab up` makes it anew else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bastide.console import Completed
from lab import place, registry
from lab.machines import links, router, seal
from lab.place import Place

HERE = Place("x", "lab12345", 3)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What a host with a whole network answers: each test takes something away."""
    monkeypatch.setattr(place, "ROOT", tmp_path)
    monkeypatch.setattr(links, "NETNS", tmp_path / "netns")
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / HERE.router).touch()
    HERE.folder.mkdir(parents=True)
    registry.write_json(HERE.folder / "doors.json", {"doors": [["172.31.1.10", 80, "mirror.example"]]})
    answers = {
        f"nft list table inet {HERE.host_table}": "table",
        f"nsenter --net={tmp_path}/netns/{HERE.router} nft list table inet lab": "table",
        f"ip route show {HERE.range4} dev {HERE.uplink}": "198.18.6.0/23 via 198.18.6.1",
    }

    def run(argv: list[Any], **more: object) -> Completed:
        words = " ".join(os.fspath(word) for word in argv)
        return Completed(0 if words in answers else 1, answers.get(words, ""), "")

    for module in (links, router, seal):
        monkeypatch.setattr(module, "run", run, raising=False)
    return answers


def test_a_whole_network_is_ready(host: dict[str, str]) -> None:
    assert router.ready(HERE)


def test_one_whose_making_was_killed_is_not(host: dict[str, str]) -> None:
    """The route to it is the last step."""
    host[f"ip route show {HERE.range4} dev {HERE.uplink}"] = ""
    assert not router.ready(HERE)


@pytest.mark.parametrize("half", ["nft list", "nsenter"])
def test_one_without_a_half_of_its_seal_is_not(host: dict[str, str], half: str) -> None:
    (gone,) = [words for words in host if words.startswith(half)]
    del host[gone]
    assert not router.ready(HERE)


def test_one_without_a_namespace_is_not(host: dict[str, str]) -> None:
    (links.NETNS / HERE.router).unlink()
    assert not router.ready(HERE)


def test_settings_of_the_host_are_raised_again_after_it_was_booted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The lab still has its slot then, the kernel has forgotten; what is put back at the end is the first value."""
    monkeypatch.setattr(place, "ROOT", tmp_path)
    kernel = {"fs.inotify.max_user_instances": "128"}
    monkeypatch.setattr(registry, "_low_sysctls", lambda: {k: v for k, v in kernel.items() if int(v) < 8192})
    monkeypatch.setattr(registry, "_routed", lambda here: False)

    def run(argv: list[str], **more: object) -> Completed:
        name, _, value = argv[-1].partition("=")
        kernel[name] = value
        return Completed(0, "", "")

    monkeypatch.setattr(registry, "run", run)
    registry.claim("one")
    assert kernel == {"fs.inotify.max_user_instances": "8192"}
    kernel["fs.inotify.max_user_instances"] = "256"
    here = registry.claim("one")
    assert kernel == {"fs.inotify.max_user_instances": "8192"}
    registry.release(here)
    assert kernel == {"fs.inotify.max_user_instances": "128"}
