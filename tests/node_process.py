"""The real node as a real process on loopback, to be started, asked, killed and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from node.loopback import free_port
from tests.waiting import wait_for

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def cli(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run ``lumbar-node`` with arguments, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=ENVIRONMENT,
    )


def storescu(port: int, folder: Path, *, called: str = "LUMBAR") -> None:
    """Send a folder with DCMTK, as a PACS would (full path: pynetdicom shadows the name)."""
    command = ["/usr/bin/storescu", "+sd", "+r", "-xr", "-aec", called, "127.0.0.1", str(port)]
    subprocess.run([*command, str(folder)], check=True, timeout=60, env=ENVIRONMENT)


class NodeProcess:
    """``lumbar-node serve``, or its roles one process each, with its own folder and ports.

    Parameters
    ----------
    folder : Path
    destinations : sequence of (name, AE title, port)
    extra : str
        More TOML, for example ``[[orthanc]]`` peers.
    web, deliver : str
        More TOML of the sections ``[web]`` and ``[deliver]``.
    quiet_s, incomplete_s : float
        When a study counts as complete.
    commands : sequence of str
        What to run, a process each. ``work:2`` is a second `work`.
    before : mapping of command to words
        What stands before its command line, for example ``env NAME=VALUE``.
    data : Path, optional
        Where it keeps its data; ``data`` in the folder unless set.
    database_url : str
        SQLite unless set.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Sequence[tuple[str, str, int]] = (),
        *,
        extra: str = "",
        web: str = "",
        deliver: str = "",
        quiet_s: float = 1.0,
        incomplete_s: float = 3.0,
        commands: Sequence[str] = ("serve",),
        before: Mapping[str, Sequence[str]] | None = None,
        data: Path | None = None,
        database_url: str = "",
    ) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.commands = commands
        self._before = before or {}
        self.dicom_port, self.web_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.config = folder / "node.toml"
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        tables = "".join(
            f'[[destinations]]\nname = "{n}"\nhost = "127.0.0.1"\nport = {p}\nae_title = "{ae}"\n'
            for n, ae, p in destinations
        )
        self.config.write_text(
            f"data_dir = {json.dumps(str(self.data))}\ndatabase_url = {json.dumps(database_url)}\n"
            f"[listen]\nport = {self.dicom_port}\nmin_free_mb = 50\n"
            f"[complete]\nquiet_s = {quiet_s}\nincomplete_s = {incomplete_s}\n"
            f"[deliver]\nfirst_retry_s = 1.0\nlast_retry_s = 2.0\n{deliver}\n"
            f"[web]\nport = {self.web_port}\n{web}\n{tables}{extra}",
            "utf-8",
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything the node has printed, over all its lives."""
        path = self.folder / "node.log"
        return path.read_text("utf-8") if path.exists() else ""

    def start(self) -> None:
        """Start the process and return once its pages answer."""
        self._processes = [self._launch(command) for command in self.commands]
        wait_for(self._is_up, seconds=240, what="the node")

    def _launch(self, command: str) -> subprocess.Popen[bytes]:
        role, before = command.partition(":")[0], self._before.get(command, ())
        with (self.folder / "node.log").open("ab") as log:
            return subprocess.Popen(
                [*before, sys.executable, "-m", "node.cli", role, "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
            )

    def pid(self, command: str) -> int:
        """Return the process id of one of the commands."""
        return self._processes[self.commands.index(command)].pid

    def ended(self) -> dict[str, int]:
        """Return the commands whose processes have ended, with the ids these had."""
        pairs = zip(self.commands, self._processes, strict=True)
        return {c: p.pid for c, p in pairs if p.poll() is not None}

    def relaunch(self, command: str) -> None:
        """Start one command again that has ended."""
        self._processes[self.commands.index(command)] = self._launch(command)

    def stop(self) -> None:
        """End every process as an administrator would."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
        self._processes = []

    def kill(self) -> None:
        """End every process as a power cut would."""
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
        for process in self._processes:
            process.wait(timeout=10)
        self._processes = []

    def peak_memory(self) -> int:
        """Return the most memory (bytes) that any of its processes has had resident."""
        peaks = []
        for process in self._processes:
            lines = Path(f"/proc/{process.pid}/status").read_text("ascii").splitlines()
            peaks += [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")]
        return max(peaks)

    def study(self, uid: str) -> dict[str, Any]:
        """Return what the node says about a study; an empty object when it knows none."""
        answer = requests.get(f"{self.url}/api/studies/{uid}", timeout=10)
        if answer.status_code == 404:
            return {}
        answer.raise_for_status()
        loaded: dict[str, Any] = answer.json()
        return loaded

    def wait_until(self, uid: str, *states: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until a study is in one of some states, and return what the node says of it."""
        try:
            wait_for(lambda: self.study(uid).get("state") in states, seconds=seconds)
        except AssertionError as error:
            told = f"study is {self.study(uid)}, not {states}; log:\n{self.log[-4000:]}"
            raise AssertionError(told) from error
        return self.study(uid)

    def _is_up(self) -> bool:
        if any(process.poll() is not None for process in self._processes):
            raise AssertionError(f"the node has ended:\n{self.log[-4000:]}")
        return ("listen" not in self._roles or self._listens()) and (
            "web" not in self._roles or self._answers()
        )

    @property
    def _roles(self) -> set[str]:
        return {"listen", "web"} if "serve" in self.commands else set(self.commands)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.dicom_port)) == 0

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False
