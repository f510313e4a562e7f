"""What the tests of the lab share: a lab of each module's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.bench import Bench, made, own_sysctls


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """The host's own settings, read before this module's lab comes."""
    return own_sysctls()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, before: object) -> Iterator[Bench]:
    """A lab of the module's own, with two machines."""
    with made(tmp_path_factory.mktemp("lab")) as found:
        yield found
