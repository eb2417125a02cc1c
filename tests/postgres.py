"""A PostgreSQL of the tests' own, from Debian's package: a cluster in a temporary folder, on loopback, with a password.

It is started where a test asks for it, and goes when the process that started it goes, however that ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def programs() -> Path | None:
    """The folder of Debian's newest PostgreSQL, which is not in the path, or None."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in found), key=lambda path: float(path.parent.name), default=None)


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A cluster in `folder`; `prefix` are words before a command, `network` may connect besides this machine."""

    folder: Path
    bin: Path
    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    network: str = "127.0.0.1/32"
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: f"secret{secrets.token_hex(6)}")
    process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the cluster; its one role is `tester`."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        words = ["-D", self.folder / "data", "-U", "tester", "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(
            [*_as_postgres(), self.bin / "initdb", *words, "-E", "UTF8", "--no-locale", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {self.network} scram-sha-256\n")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = {**_SETTINGS, "port": self.port, "listen_addresses": self.address}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *_as_postgres(), self.bin / "postgres", "-D", self.folder / "data", *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_S
        while self.ask("pg_isready").returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop the server: SIGINT cuts off whoever is connected, SIGQUIT is as a crash."""
        assert self.process
        self.process.send_signal(how)
        self.process.wait(PATIENCE_S)

    def ask(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The completed run of one of PostgreSQL's client programs."""
        return subprocess.run(
            [*self.prefix, self.bin / program, "-h", self.address, "-p", str(self.port), "-U", "tester", *arguments],
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
        )

    def database(self, name: str) -> str:
        """The storage URL of a new database, as Optuna takes it, with the password in it."""
        made = self.ask("createdb", name)
        assert made.returncode == 0, made.stderr
        return self.url(name)

    def url(self, name: str) -> str:
        """The storage URL of a database."""
        return f"postgresql+psycopg://tester:{self.password}@{self.address}:{self.port}/{name}"


def _as_postgres() -> list[str]:
    """Words before a command: it ends with whoever started it, and is not root, which PostgreSQL refuses."""
    user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *user, "--pdeathsig=INT"]


@contextmanager
def running(**options: Any) -> Iterator[Server]:
    """A running server, or a skip that says what is missing."""
    where = programs()
    if where is None:
        pytest.skip("NOT RUN: PostgreSQL is not installed: apt install postgresql")
    pytest.importorskip("psycopg", reason="NOT RUN: psycopg is not installed: pip install 'ecm-edge[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="ecm-edge-postgres-"))  # pytest's own folders are closed to other users
    server = Server(folder, where, **options)
    try:
        server.make()
        server.start()
        yield server
    finally:
        if server.process and server.process.poll() is None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
