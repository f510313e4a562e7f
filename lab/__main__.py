"""`python -m lab`: see `lab.cli`."""

from __future__ import annotations

from bastide.console import exit_with
from lab.cli import main

exit_with(main)
