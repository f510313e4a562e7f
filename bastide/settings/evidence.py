"""`settings.evidence`: whose word the proofs are."""

from __future__ import annotations

from bastide.settings.common import Area, Name


class EvidenceArea(Area):
    """Who may sign what the checks saw. The page says whether its evidence is signed."""

    signers: tuple[Name, ...] = ()
    """People (names of users.people) who may sign evidence with their ssh keys, besides the automation account."""
