"""A real PostgreSQL (Debian package ``postgresql``) as a plain process on loopback, for tests."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from node.loopback import free_port
from tests.waiting import wait_for

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class PostgresServer:
    """One database cluster, without passwords, for this machine only.

    PostgreSQL refuses to run as root; then it runs as the user ``postgres`` of the package. Its
    folder is not among those of pytest, which every session of pytest closes to other users.
    """

    def __init__(self) -> None:
        if not _BINARIES:
            pytest.skip("needs PostgreSQL (apt-get install postgresql)")
        self._folder = Path(tempfile.mkdtemp(prefix="lumbar-postgres-"))
        self._port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._place = ("-h", "127.0.0.1", "-p", str(self._port))
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._url("postgres")

    def __enter__(self) -> Self:
        shutil.chown(self._folder, self._user)
        data, user = self._folder / "data", self._user
        self._tool("initdb", "-D", data, "-A", "trust", "-U", user, "--no-sync", user=user)
        self.start()
        return self

    def start(self) -> None:
        """Start the server on its cluster, and return once it answers."""
        # -F: what is in it need not outlive a power cut of this machine.
        place = ("-D", str(self._folder / "data"), "-k", str(self._folder))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_BINARIES[-1] / "postgres"), *self._place, "-F", *place],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )
        ready = [str(_BINARIES[-1] / "pg_isready"), *self._place]
        wait_for(
            lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0,
            what="PostgreSQL",
            seconds=60,
        )

    def crash(self) -> None:
        """End it as ``pg_ctl stop -m immediate`` does: the next start has to recover."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(timeout=30)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            self._process.wait(timeout=30)
        shutil.rmtree(self._folder)

    def database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test{next(self._numbers)}"
        self._tool("createdb", *self._place, "-U", self._user, name)
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{self._user}@127.0.0.1:{self._port}/{database}"

    def _tool(self, name: str, *arguments: object, user: str | None = None) -> None:
        command = [str(_BINARIES[-1] / name), *map(str, arguments)]
        made = subprocess.run(
            command, check=False, capture_output=True, text=True, user=user, cwd=self._folder
        )
        assert made.returncode == 0, made.stderr
