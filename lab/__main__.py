"""`python -m lab`: see `lab.cli`."""

from __future__ import annotations

from bastide.console import guard
from lab.cli import main

guard(main)
