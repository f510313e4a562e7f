"""Whom PAM lets in who should not be."""

from __future__ import annotations

from tests.verify.probes.batch import command
from tests.verify.probes.scripts import script

# nobody comes in as one of them, so that no list of failed logins keeps somebody out who does
ACCOUNTS = ("root", "nobody")

pam = command(
    "pam",
    script({"accounts": ACCOUNTS}, "pam_asked"),
    shows=f"for each of /etc/pam.d: pam_authenticate with a wrong password, for {' and '.join(ACCOUNTS)}",
)
