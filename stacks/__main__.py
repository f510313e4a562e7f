"""`python -m stacks VERB NAME`: what `pulumi up` needs around it."""

from __future__ import annotations

import argparse
from pathlib import Path

from bastide.console import guard, say
from stacks.ops.init import init_stack, storage_variables
from stacks.ops.lifecycle import lab_forget, lab_up, refuse_protected
from stacks.ops.recover import recover
from stacks.ops.state import backup, make_state_bucket


def main() -> int:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m stacks", description="What `pulumi up` needs around it.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    helps = {
        "init": "make what the stack lacks: its state, its master secret, for a lab stack the whole file",
        "lab-up": "start the local cloud, when the stack file has settings.lab",
        "lab-forget": "after `python -m lab down`: drop the state and the host keys that speak of its machines",
        "recover": "after a killed `pulumi up`: give up its lock, take over what it had made",
        "storage-keys": "for eval: the object storage's keys for the checks, where they can be read",
        "may-destroy": "exit 0 when nothing of the stack is protected",
    }
    for verb, text in helps.items():
        verbs.add_parser(verb, help=text).add_argument("stack")
    verbs.choices["init"].add_argument(
        "--lab", action="store_true", help="make a missing stack file from the example, for the local cloud"
    )
    copy = verbs.add_parser("backup", help="write the state to a file; secrets in it stay encrypted")
    copy.add_argument("stack")
    copy.add_argument("file", type=Path, metavar="FILE")
    bucket = verbs.add_parser("state-bucket", help="make the bucket for states, and say its PULUMI_BACKEND_URL")
    bucket.add_argument("bucket", metavar="NAME")
    bucket.add_argument("--location", choices=("fsn1", "nbg1", "hel1"), required=True)
    bucket.add_argument("--endpoint", metavar="URL", help="default: the provider's own at that location")
    options = parser.parse_args()
    root = Path.cwd()
    if options.verb == "init":
        init_stack(options.stack, root, lab=options.lab)
    elif options.verb == "lab-up":
        lab_up(options.stack, root)
    elif options.verb == "lab-forget":
        lab_forget(options.stack, root)
    elif options.verb == "backup":
        backup(options.stack, root, options.file)
    elif options.verb == "state-bucket":
        endpoint = options.endpoint or f"https://{options.location}.your-objectstorage.com"
        url = make_state_bucket(options.bucket, endpoint, options.location)
        say(f"export PULUMI_BACKEND_URL='{url}'")
    elif options.verb == "storage-keys":
        if lines := storage_variables(options.stack, root):
            say(lines)
    elif options.verb == "recover":
        recover(options.stack, root)
    else:
        refuse_protected(options.stack, root)
    return 0


guard(main)
