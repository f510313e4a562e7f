"""What an auditor asks for, and is not done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """Rules of an auditor by ids (ComplianceAsCode's content for Debian 13; Lynis' tests), and why they may fail."""

    rules: tuple[str, ...]
    reason: str
