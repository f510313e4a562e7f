"""A machine for tests: a real ssh server (paramiko's) on loopback that runs the real scripts in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import paramiko
from pydantic import SecretBytes

from bastide.machines import Machine
from bastide.secrets import Keyring
from hosts.enrolment import first_contact
from hosts.transport.client import Endpoint

KEYRING = Keyring("unit", {"v1": SecretBytes(bytes(32))})
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG540gUHism/JgBPUdTQKEPUH1ECuHCbgcCLRpL7O5vs"


class Server(paramiko.ServerInterface):
    """One session's rules: the box's users with the one key may run commands."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.box.logins.append(username)
        good = username in self.box.users() and key == self.box.user_key and not self.box.refuse_logins
        self.box.refuse_logins -= bool(self.box.refuse_logins)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.box.execute, args=(channel, command.decode()), daemon=True).start()
        return True


class Box:
    """A machine: an ssh server whose host key lies in a folder, with stand-ins for what needs root."""

    def __init__(self, folder: Path, user_key: paramiko.PKey) -> None:
        self.folder = folder
        self.user_key = user_key
        self.logins: list[str] = []
        self.commands: list[str] = []
        self.refuse_logins = 0
        self.die_before_line = 0  # of the `switch` branch, from 1
        self.no_python = False
        self.hang_up = ""  # the phase in which the connection is lost
        self.first_user = ""  # of a machine that somebody else made, where the automation account does not exist yet
        for name in ("etc/ssh", "etc/cloud/cloud.cfg.d", "run", "bin"):
            (folder / name).mkdir(parents=True)
        pair = KEYRING.bootstrap_host_key("primary", 1)
        (folder / "etc/ssh/ssh_host_ed25519_key").write_text(pair.private.get_secret_value())
        (folder / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
        (folder / "etc/ssh/ssh_host_rsa_key").write_text("left by the image")
        (folder / "etc/cloud/cloud.cfg").write_text("cloud_init_modules:\n - seed\n - ssh\n - users\n")
        for tool in ("cloud-init", "systemctl", "sshd", "sync"):
            self.stand_in(tool, "exit 0")
        self.stand_in("python3", f'exec {sys.executable} "$@"')  # the one of the project has yaml
        self.stand_in("systemctl", f"case $1 in restart) touch {folder}/restarted;; esac")
        self.reload()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.serving = threading.Thread(target=self.serve, daemon=True)
        self.serving.start()

    def close(self) -> None:
        """Answer nobody any more; the thread is waited for, or it would accept at the next box's listener by number."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.serving.join(5)
        self.listener.close()

    def stand_in(self, tool: str, text: str) -> None:
        path = self.folder / "bin" / tool
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def reload(self) -> None:
        self.host_key = paramiko.PKey.from_path(self.folder / "etc/ssh/ssh_host_ed25519_key")

    def public(self) -> str:
        return f"{self.host_key.get_name()} {self.host_key.get_base64()}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                transport = paramiko.Transport(connection)
                transport.add_server_key(self.host_key)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(event=threading.Event(), server=Server(self))

    def script(self, text: str) -> str:
        for path in ("/etc/ssh", "/etc/cloud", "/etc/sudoers.d", "/run/"):
            text = text.replace(path, f"{self.folder}{path}")
        if self.die_before_line:
            head, tail = text.split("switch)\n", 1)
            lines = tail.split("\n")
            lines.insert(self.die_before_line - 1, "kill -9 $$")
            text = head + "switch)\n" + "\n".join(lines)
        return text

    def users(self) -> set[str]:
        """Who can log in with the one key."""
        if not self.first_user:
            return {"bastide"}
        keys = self.folder / "home/.ssh/authorized_keys"
        there = keys.exists() and f"{self.user_key.get_name()} {self.user_key.get_base64()}" in keys.read_text()
        return {self.first_user, *(("bastide",) if there else ())}

    def belongs_to_somebody_else(self) -> None:
        """Become a machine as its owner hands it over: a first user, three host keys, none of them ours."""
        self.first_user = "debian"
        ssh = self.folder / "etc/ssh"
        (ssh / "ssh_host_ed25519_key").unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "ssh_host_ed25519_key"], check=True)
        (ssh / "ssh_host_ecdsa_key").write_text("left by the image")
        for name in ("etc/sudoers.d", "home"):
            (self.folder / name).mkdir()
        account = self.folder / "account"
        self.stand_in("useradd", f"touch {account}")
        self.stand_in("getent", f"[ -e {account} ] && echo bastide:x:1001:1001::{self.folder}/home:/bin/bash")
        self.stand_in("id", "echo 1001")
        self.stand_in("install", 'while [ $# -gt 1 ]; do shift; done; mkdir -p "$1"')
        self.stand_in("sudo", "exit 0")
        for tool in ("chown", "visudo"):
            self.stand_in(tool, "exit 0")
        self.reload()

    def perform(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the enrolment's scripts as the machine would; `words` are its phase and the rest of $1, $2 ..."""
        done = subprocess.run(
            ["sh", "-s", "--", *words],
            input=self.script(script),
            env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if (self.folder / "restarted").exists():
            (self.folder / "restarted").unlink()
            self.reload()
        return done

    def execute(self, channel: paramiko.Channel, command: str) -> None:
        words = shlex.split(command)
        if "sh" not in words[:3]:
            self.plain(channel, words)
            return
        arguments = words[words.index("--") + 1 :]
        self.commands.append(arguments[0])
        given = channel.makefile("rb").read().decode()
        if self.hang_up == arguments[0]:
            channel.get_transport().close()
            return
        done = self.perform(given, *arguments)
        channel.sendall(done.stdout.encode())
        channel.sendall_stderr(done.stderr.encode())
        channel.send_exit_status(done.returncode & 0xFF)
        channel.close()

    def plain(self, channel: paramiko.Channel, words: list[str]) -> None:
        """Any other command, as it is, with what it says going out as it comes."""
        self.commands.append(" ".join(words[:4]))
        if words[0] == "sudo":
            words = words[words.index("python3") if "python3" in words else words.index("sh") :]
        if self.no_python and words[0] == "python3":
            with contextlib.suppress(OSError, EOFError):
                channel.send_exit_status(127)
                channel.close()
            return
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin
        assert process.stdout
        assert process.stderr

        def feed() -> None:
            assert process.stdin
            with contextlib.suppress(OSError):
                while data := channel.recv(65536):
                    process.stdin.write(data)
                    process.stdin.flush()
                process.stdin.close()

        def drain(source: IO[bytes], send: Callable[[bytes], object]) -> None:
            with contextlib.suppress(OSError):
                while data := os.read(source.fileno(), 65536):
                    send(data)

        threading.Thread(target=feed, daemon=True).start()
        errors = threading.Thread(target=drain, args=(process.stderr, channel.sendall_stderr), daemon=True)
        errors.start()
        drain(process.stdout, channel.sendall)
        errors.join()
        # the client may have hung up: paramiko says so as one or the other
        with contextlib.suppress(OSError, EOFError):
            channel.send_exit_status(process.wait() & 0xFF)
            channel.close()


def new_identity(folder: Path) -> Path:
    """A fresh private key; its public half lies beside it."""
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def target_of(box: Box, identity: Path, folder: Path) -> first_contact.Target:
    """How to reach a box, with its records below `folder`."""
    (folder / "stacks").mkdir()
    machine = Machine("primary", "primary", "fsn1", "17", 1, "127.0.0.1", "::1", "10.20.0.11")
    endpoint = Endpoint("primary", "127.0.0.1", (box.port,), "bastide", identity, "look there")
    known = folder / "stacks/unit.known_hosts"
    bootstrap = KEYRING.bootstrap_host_key("primary", 1).public
    return first_contact.Target("unit", machine, endpoint, known, folder / "build/lock", lambda: bootstrap)
