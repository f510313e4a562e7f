"""`python -m bastide check FILE | page [--check] | sign FILE | reference | schema`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bastide.auditors import auditors_page
from bastide.console import exit_with, say, warn
from bastide.controls import count
from bastide.errors import EvidenceError
from bastide.reference import reference_page
from bastide.schema import SCHEMA_PATH, schema_text
from bastide.signature import KEY, sign, signer
from bastide.stackfile import read, stack_path


def main() -> int:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m bastide", description="What is wanted, and what was proven.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("check", help="show every mistake of a stack file at once")
    check.add_argument("file", type=Path)
    page = verbs.add_parser("page", help="write the security page from the evidence")
    page.add_argument("--stack", default=os.environ.get("BASTIDE_STACK", "lab"))
    page.add_argument(
        "--check", action="store_true", help="write nothing: is the page what its evidence says, and whose"
    )
    signing = verbs.add_parser("sign", help="sign a rehearsal's figures, for other stacks' pages to print")
    signing.add_argument("file", type=Path)
    signing.add_argument("--stack", default=os.environ.get("BASTIDE_STACK", "lab"))
    verbs.add_parser("reference", help="write docs/reference/settings.md and auditors.md from the model")
    verbs.add_parser("schema", help=f"write {SCHEMA_PATH} from the model, for editors")
    options = parser.parse_args()
    if options.verb == "check":
        settings = read(options.file)
        people = count(len(settings.users.people), "person", "people")
        say(f"{options.file}: no mistake ({count(len(settings.servers), 'server')}, {people})")
        for line in settings.unheard:
            warn(line)
        return 0
    if options.verb == "reference":
        Path("docs/reference/settings.md").write_text(reference_page(), encoding="utf-8")
        Path("docs/reference/auditors.md").write_text(auditors_page(), encoding="utf-8")
        return 0
    if options.verb == "schema":
        SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
        return 0
    if options.verb == "sign":
        return _sign(options.stack, options.file)
    return _check_page(options.stack) if options.check else _page(options.stack)


def _page(stack: str) -> int:
    # jinja2 is only needed here: `check` stays quick
    from bastide.report import summary_lines, write_page

    path = write_page(stack, Path.cwd())
    lines, code = summary_lines(stack, Path.cwd())
    for line in lines:
        say(line)
    say(f"security page: {path}")
    return code


def _check_page(stack: str) -> int:
    from bastide.report import check_page

    lines = check_page(stack, Path.cwd())
    for line in lines:
        say(line)
    return 1 if any(line.startswith("✗") for line in lines) else 0


def _sign(stack: str, file: Path) -> int:
    if not file.is_file():
        raise EvidenceError(f"{file} does not exist", "run the rehearsal (`make test`), which writes it")
    settings = read(stack_path(stack))
    if not sign(file, settings, Path.cwd()):
        raise EvidenceError("there is no key to sign with", f"set {KEY} to the private key of somebody who may sign")
    say(f"signed {file}, as {signer(file, settings)}; next: `python -m bastide page --stack {stack}`")
    return 0


exit_with(main)
