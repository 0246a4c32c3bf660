"""OHIF on the node's own port: its built files, our configuration, and the policy it runs under."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from node.errors import Misconfigured
from node.results.identity import report_series_uid
from node.web.access import Access

CONFIGURATION = Path(__file__).parent / "static" / "ohif-config.js"


def viewer_link(study_uid: str) -> str:
    """Return where the viewer shows a study, beginning with its report when it has one."""
    report = report_series_uid(study_uid)
    return f"/viewer?StudyInstanceUIDs={study_uid}&initialSeriesInstanceUID={report}"


def viewer_pages(folder: Path, access: Access) -> APIRouter:
    """Return the routes of the viewer: ``/viewer`` and the files it asks for by absolute path.

    The built viewer asks for its files at the root. So this router has to be the last of an
    application: it answers what nothing before it does.

    Parameters
    ----------
    folder : Path
        OHIF's built files, for example ``dist`` of the npm package ``@ohif/app``.
    access : Access
        Who may not read images is asked to sign in first.

    Raises
    ------
    Misconfigured
        When there is no viewer in the folder.
    """
    page = folder / "index.html"
    if not page.is_file():
        raise Misconfigured(
            f"web: viewer_dir {folder} holds no index.html; `lumbar-node viewer` fetches OHIF"
        )
    router = APIRouter(include_in_schema=False)
    files = StaticFiles(directory=folder)
    policy = _policy(page.read_text("utf-8"))
    kept = {"Cache-Control": "no-cache"}
    as_page = kept | {"Content-Security-Policy": policy}
    # A worker runs under the policy of its own file. Those that unpack compressed images build
    # functions from text; the page itself may not.
    as_worker = kept | {
        "Content-Security-Policy": policy.replace("script-src", "script-src 'unsafe-eval'")
    }

    @router.get("/app-config.js")
    def configuration() -> Response:
        return FileResponse(CONFIGURATION, headers=kept)

    @router.get("/viewer")
    def viewer(request: Request) -> Response:
        try:
            access.to_read(request)
        except HTTPException:
            return RedirectResponse("/sign-in", 303)
        return FileResponse(page, headers=as_page)

    @router.get("/{path:path}")
    async def file(path: str, request: Request) -> Response:
        response = await files.get_response(path, request.scope)
        response.headers.update(as_page if path.endswith(".html") else as_worker)
        return response

    return router


def _policy(page: str) -> str:
    """Return the content security policy of the viewer's page: nothing from elsewhere.

    OHIF decodes images in WebAssembly, sets styles in its elements, and has lines of script in its
    page, each allowed here by its hash.
    """
    lines = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{b64encode(sha256(line.encode()).digest()).decode()}'" for line in lines]
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' 'wasm-unsafe-eval' {' '.join(hashes)}",
            "worker-src 'self' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "connect-src 'self' blob: data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "object-src 'none'",
        ]
    )
