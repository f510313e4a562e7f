"""`settings.company`: who publishes the security page."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bastide.settings.common import Area, Domain


class Company(Area):
    """The company whose platform this is, as its security page names it."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    """Name on the security page."""
    domain: Domain
    """The company's domain."""
    security_contact: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    """Mail address for security reports, on the company's own domain."""

    @model_validator(mode="after")
    def _own_domain(self) -> Self:
        if not f".{self.security_contact.rpartition('@')[2]}".endswith(f".{self.domain}"):
            raise ValueError(f"security_contact must be an address on the company's own domain {self.domain}")
        return self
