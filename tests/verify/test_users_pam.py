"""Whom PAM lets in: nobody by a wrong password, whatever asks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.verify.findings import judge
from tests.verify.probes import users_pam
from tests.verify.probes.updates import parsed
from tests.verify.probes.world import Observation

_LETS_IN = 0  # PAM_SUCCESS (pam(3))


@pytest.mark.control("users-01", "users-03")
@pytest.mark.probe(users_pam.pam)
def test_no_service_takes_a_wrong_password(observation: Observation, note: Callable[[str], None]) -> None:
    """Asked by an account without rights, each service of PAM refuses a wrong password: su, sudo, consoles, all."""
    answers: dict[str, dict[str, int]] = parsed(observation.data, "PAM could not be asked")
    wrong = [] if {"su", "sudo", "login"} <= set(answers) else ["su, sudo or login do not ask PAM"]
    judge(
        [
            *wrong,
            *(
                f"PAM lets in {account} by a wrong password ({service})"
                for service, codes in answers.items()
                for account, code in codes.items()
                if code == _LETS_IN
            ),
        ]
    )
    note(f"{len(answers)} services of PAM refuse a wrong password")
