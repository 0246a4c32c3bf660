"""A real PostgreSQL (Debian package ``postgresql``) as a plain process on loopback, for tests."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.waiting import free_port, wait_for

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class PostgresServer:
    """One database cluster in a folder, without passwords, for this machine only.

    PostgreSQL refuses to run as root; then it runs as the user ``postgres`` of the package.
    """

    def __init__(self, folder: Path) -> None:
        if not _BINARIES:
            pytest.skip("needs PostgreSQL (apt-get install postgresql)")
        self._folder = folder
        self._port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://{self._user}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        binaries = _BINARIES[-1]
        temporary = Path(tempfile.gettempdir())
        for parent in (self._folder, *self._folder.parents):
            # pytest keeps its folders to their owner; the database's user has to pass.
            if temporary in parent.parents:
                parent.chmod(0o755)
        shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        user = self._user
        made = subprocess.run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", user, "--no-sync"],
            check=False,
            capture_output=True,
            text=True,
            user=user,
            cwd=self._folder,
        )
        assert made.returncode == 0, made.stderr
        options = ["-p", str(self._port), "-k", str(self._folder), "-h", "127.0.0.1"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *options],
                stdout=log,
                stderr=log,
                user=user,
                cwd=self._folder,
            )
        ready = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._port)]
        wait_for(
            lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0,
            what="PostgreSQL",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            self._process.wait(timeout=30)
