"""A real Orthanc (Debian package ``orthanc``) as a plain process on loopback, for tests.

::

    with OrthancServer(tmp_path, ae_title="PACS", modalities={"node": ("LUMBAR", port)}) as pacs:
        Destination(name="pacs", host="127.0.0.1", port=pacs.dicom_port, ae_title=pacs.ae_title)
        requests.get(f"{pacs.url}/instances", timeout=10).json()

Its DICOM toolkit leaves Nagle's algorithm on unless ``TCP_NODELAY=1`` is in the environment,
which makes it twenty times slower, so that is always set.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import requests

from node.loopback import free_port
from tests.waiting import answers, wait_for

ORTHANC = Path("/usr/sbin/Orthanc")
PLUGINS = Path("/usr/share/orthanc/plugins")
PYTHON_PLUGIN = PLUGINS / "libOrthancPython.so"
DICOMWEB_PLUGIN = PLUGINS / "libOrthancDicomWeb.so"


class OrthancServer:
    """One Orthanc with its own folder, database and ports.

    Parameters
    ----------
    folder : Path
        Holds the configuration, the SQLite index, the images and ``orthanc.log``.
    ae_title : str
    stable_age : int
        Seconds without a new image after which a study counts as stable.
    plugins : sequence of Path
        Shared libraries to load, for example `PYTHON_PLUGIN`.
    python_script : Path or None
        Script for the Python plugin, which is then loaded too.
    lua_scripts : sequence of Path
    modalities : mapping of name to (AE title, port)
        DICOM peers on loopback that Orthanc may send to.
    environment : mapping of str to str
        Added to the process's environment; scripts can read it.
    settings : mapping
        Any other Orthanc configuration key.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "ORTHANC",
        stable_age: int = 2,
        plugins: Sequence[Path] = (),
        python_script: Path | None = None,
        lua_scripts: Sequence[Path] = (),
        modalities: Mapping[str, tuple[str, int]] | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.dicom_port = free_port()
        self.http_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._environment = {**os.environ, "TCP_NODELAY": "1", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        loaded = [*plugins, *([PYTHON_PLUGIN] if python_script else [])]
        self.configuration: dict[str, Any] = {
            "Name": ae_title,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [str(p) for p in loaded],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": ae_title,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "UnknownSopClassAccepted": True,
            "StableAge": stable_age,
            "LuaScripts": [str(p) for p in lua_scripts],
            "DicomModalities": {
                name: [aet, "127.0.0.1", port] for name, (aet, port) in (modalities or {}).items()
            },
            **({"PythonScript": str(python_script)} if python_script else {}),
            **(settings or {}),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything Orthanc has printed."""
        path = self.folder / "orthanc.log"
        return path.read_text("utf-8", errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the process and return once both of its ports answer.

        Raises
        ------
        AssertionError
            With the log, when Orthanc does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self.configuration, indent=2), "utf-8")
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [ORTHANC, path], stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        try:
            wait_for(self._is_up, seconds=30, what="Orthanc")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"Orthanc did not start:\n{self.log[-3000:]}") from error

    def stop(self) -> None:
        """Stop the process; safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process = None

    def kill(self) -> None:
        """End the process as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)
        self._process = None

    def get(self, path: str) -> Any:
        """Return the JSON answer of a REST path such as ``/studies``."""
        answer = requests.get(f"{self.url}{path}", timeout=20)
        answer.raise_for_status()
        return answer.json()

    def empty(self) -> None:
        """Forget all studies."""
        for study in self.get("/studies"):
            requests.delete(f"{self.url}/studies/{study}", timeout=10).raise_for_status()

    def file(self, instance_id: str) -> bytes:
        """Return the Part 10 bytes of one instance, by Orthanc's identifier."""
        answer = requests.get(f"{self.url}/instances/{instance_id}/file", timeout=20)
        answer.raise_for_status()
        return answer.content

    def files(self) -> dict[str, bytes]:
        """Return the Part 10 bytes of every instance, by SOP Instance UID."""
        return {
            i["MainDicomTags"]["SOPInstanceUID"]: self.file(i["ID"])
            for i in self.get("/instances?expand")
        }

    def upload(self, part10: bytes) -> str:
        """Store one file by REST and return Orthanc's identifier of its study."""
        answer = requests.post(f"{self.url}/instances", data=part10, timeout=20)
        answer.raise_for_status()
        return str(answer.json()["ParentStudy"])

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError("the process has ended")
        try:
            self.get("/system")
        except requests.RequestException:
            return False
        return answers(self.dicom_port)


class WatchedOrthanc(OrthancServer):
    """An Orthanc that writes down every request that is made of it.

    Parameters
    ----------
    folder : Path
    file_s : float
        How long (s) it takes over each file that is fetched.
    **options
        As for `OrthancServer`.
    """

    def __init__(self, folder: Path, *, file_s: float = 0.0, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "listening.lua"
        script.write_text(
            "function IncomingHttpRequestFilter(method, uri)\n"
            'print("REQUEST " .. method .. " " .. uri)\n'
            f'if uri:match("/file$") then os.execute("sleep {file_s}") end\n'
            "return true end\n"
        )
        super().__init__(folder, lua_scripts=[script], **options)
        self._begin = 0

    def empty(self) -> None:
        """Forget all studies, and what was asked so far."""
        super().empty()
        self._begin = len(self.log)

    @property
    def asked(self) -> list[str]:
        """The requests since it was emptied, such as ``GET /system``."""
        lines = self.log[self._begin :].splitlines()
        return [line.partition("REQUEST ")[2] for line in lines if "REQUEST " in line]

    @property
    def fetched(self) -> list[str]:
        """Orthanc's identifiers of the instances whose files were asked for."""
        return [a.split("/")[2] for a in self.asked if a.startswith("GET") and a.endswith("/file")]
