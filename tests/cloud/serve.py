"""Runs the API over machines that are none, as a process of its own: for the tests that kill it.

`python tests/cloud/serve.py STATE_FILE PORT TOKEN_SHA256 ACTION_DELAY`
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from lab.cloud.app import create_app
from lab.cloud.no_machines import NoMachines

if __name__ == "__main__":
    state, port, digest, delay = sys.argv[1:]
    app = create_app(Path(state), digest, NoMachines(), action_delay=float(delay))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
