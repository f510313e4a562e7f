"""A small stack of buckets alone, and a real MinIO server on loopback that says which calls of S3 it was asked.

It needs neither root nor the local cloud: what is rehearsed with it is the storage and the state, not the machines.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bastide.console import Completed, run
from bastide.secrets import StorageKeys
from lab.services.certificate import make_certificate
from stacks.buckets import client
from tools import installed

ROOT = Path(__file__).parents[2]
ACCESS, SECRET = "operator", "canary-4f1d0e8b7c6a59"
STATE_BUCKET = "example-state"
_SECONDS = 20.0

_PROGRAM = """
import pulumi
from bastide.stackfile import read
from stacks.config import read_storage_keys
from stacks.storage import ObjectStorage
from bastide.settings import Storage
storage = Storage.model_validate(pulumi.Config("bastide").require_object("storage"))
ObjectStorage("storage", storage, read_storage_keys(), protect=False)
"""


@dataclass
class Server:
    """A MinIO server with TLS and one operator. `calls` are the S3 actions it was asked for, by bucket."""

    folder: Path
    port: int
    calls: list[tuple[str, str]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "certs" / "public.crt"

    def client(self, *, stranger: bool = False) -> Any:
        keys = None if stranger else StorageKeys(ACCESS, SecretStr(SECRET))
        return client(self.endpoint, "fsn1", str(self.certificate), keys)

    def asked(self) -> set[str]:
        """The actions so far, when the last of them has been told (they are told a moment later)."""
        count = -1
        deadline = time.monotonic() + _SECONDS
        while count != len(self.calls) and time.monotonic() < deadline:
            count = len(self.calls)
            threading.Event().wait(0.5)
        return {action for action, _ in self.calls}


@contextmanager
def storage_server(folder: Path) -> Iterator[Server]:
    """A server of its own on loopback, ended with the block."""
    certs = folder / "certs"
    certs.mkdir(parents=True)
    for name, content in make_certificate("buckets", ["127.0.0.1"]).items():
        (certs / name).write_bytes(content)
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        server = Server(folder, trial.getsockname()[1])
    with _listener(server) as address:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MINIO_ROOT_USER": ACCESS,
            "MINIO_ROOT_PASSWORD": SECRET,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_AUDIT_WEBHOOK_ENABLE_test": "on",
            "MINIO_AUDIT_WEBHOOK_ENDPOINT_test": address,
        }
        program = installed.require().programs["minio-server"]
        words = ["server", "--quiet", "--certs-dir", "certs", "--address", f"127.0.0.1:{server.port}", "data"]
        with (folder / "log").open("wb") as log:
            server.process = subprocess.Popen([program, *words], cwd=folder, env=env, stdout=log, stderr=log)
        try:
            _wait(server)
            yield server
        finally:
            server.process.terminate()
            server.process.wait(_SECONDS)


@dataclass
class BucketStack:
    """An operator's place: a copy of the project's own code, a Pulumi home, a stack file, a state."""

    place: Path
    server: Server
    backend: str
    passphrase: str = "first"

    @property
    def file(self) -> Path:
        return self.place / "stacks" / "Pulumi.buckets.yaml"

    @property
    def env(self) -> dict[str, str]:
        home = self.place / "home"
        installed.link_plugins(home)
        tools = installed.require()
        return {
            "PATH": os.pathsep.join([str(ROOT / ".venv" / "bin"), tools.bin, os.environ["PATH"]]),
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": self.backend,
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PYTHONPATH": str(ROOT),
            # what the engine's S3 backend takes: keys, region and the certificate to trust
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "fsn1",
            "AWS_CA_BUNDLE": str(self.server.certificate),
        }

    def pulumi(self, *words: str, input: str | None = None, check: bool = True) -> Completed:
        """The Pulumi command line on this stack, as this operator."""
        argv = ["pulumi", *words, "--non-interactive"]
        return run(argv, cwd=self.place, env=self.env, input=input, check=check, timeout=180)

    def wants(self, buckets: dict[str, dict[str, Any]]) -> None:
        """Write what is wanted into the stack file."""
        from bastide.stackfile import dump, load

        document = load(self.file)
        document["config"]["bastide:storage"] = {
            "endpoint": self.server.endpoint,
            "location": "fsn1",
            "certificate": str(self.server.certificate),
            "buckets": buckets,
        }
        self.file.write_text(dump(document))

    def export(self) -> dict[str, Any]:
        """The state."""
        found: dict[str, Any] = json.loads(self.pulumi("stack", "export", "--stack", "buckets").stdout)
        return found


def operator(place: Path, server: Server, backend: str, *, passphrase: str = "first") -> BucketStack:
    """An operator with an empty place: the project's files, no stack."""
    (place / "stacks").mkdir(parents=True)
    text = (ROOT / "Pulumi.yaml").read_text()
    (place / "Pulumi.yaml").write_text(text.replace("virtualenv: .venv", f"virtualenv: {ROOT / '.venv'}"))
    (place / "__main__.py").write_text(_PROGRAM)
    return BucketStack(place, server, backend, passphrase)


def first_stack(place: Path, server: Server, backend: str) -> BucketStack:
    """An operator who makes the stack, with the keys as secrets."""
    made = operator(place, server, backend)
    made.file.write_text("config: {}\n")
    made.pulumi("stack", "select", "--create", "--stack", "buckets")
    for key, value in (("access_key", ACCESS), ("secret_key", SECRET)):
        path = f"bastide:secrets.storage.{key}"
        made.pulumi("config", "set", "--secret", "--path", "--stack", "buckets", path, input=value)
    return made


def clone_of(first: BucketStack, place: Path, **changed: str) -> BucketStack:
    """Another operator, with what git would bring: the project's files and the stack file, and nothing else."""
    other = operator(place, first.server, changed.get("backend", first.backend), passphrase=first.passphrase)
    shutil.copy(first.file, other.file)
    return other


@contextmanager
def _listener(server: Server) -> Iterator[str]:
    """Where MinIO tells what it was asked (its audit log), one JSON object a request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            for line in text.splitlines():
                api = json.loads(line).get("api", {}) if line.strip() else {}
                if api.get("name"):
                    server.calls.append((api["name"], api.get("bucket", "")))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_address[1]}/"
    listener.shutdown()
    listener.server_close()


def _wait(server: Server) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            server.client().list_buckets()
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{(server.folder / 'log').read_text()}") from error
            threading.Event().wait(0.1)
