"""The review pages and the HTTP interface: work list, one study, health, triggers, DICOMweb.

Pages show study UIDs, never a patient. They hold no logic of the node: what they show they ask of
`WebParts`, which `node.app` implements.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from node import __version__
from node.config import Web
from node.dicom.reading.limits import uid
from node.errors import Rejected, RetryLater
from node.results.wording import DISCLAIMER
from node.web import view
from node.web.access import Access
from node.web.audited import Note, auditing
from node.web.dicomweb.holdings import PATH
from node.web.dicomweb.service import answer_with, create_service
from node.web.ohif import viewer_link, viewer_pages
from node.web.parts import WebParts

T = TypeVar("T")

HERE = Path(__file__).parent
#: A state in which a page is worth loading again soon.
MOVING_STATES = frozenset({"receiving", "queued", "running", "delivering"})
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

OrthancID = Annotated[str, InPath(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{8}){4}$")]


def create_app(parts: WebParts, settings: Web, note: Note | None = None) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    parts : WebParts
    settings : Web
        With a ``token_file``, its contents are the bearer token that every POST and everything
        under ``/dicom-web`` has to carry.
    note : callable, optional
        Records, in the audit trail, who read what and who was turned away.

    Raises
    ------
    Misconfigured
        When the token file cannot be read or is empty.
    """
    # FastAPI's own documentation pages load scripts from other hosts.
    app = FastAPI(title="lumbar-node", version=__version__, docs_url=None, redoc_url=None)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    access = Access.of(settings)
    app.include_router(_interface(parts, access))
    app.include_router(_pages(parts, has_viewer=settings.viewer_dir is not None))
    app.include_router(_sign_in(access))
    app.mount(PATH, create_service(parts, access))
    if settings.viewer_dir is not None:
        # The last: it answers every path.
        app.include_router(viewer_pages(settings.viewer_dir, access))
    app.middleware("http")(_with_security_headers)
    if note is not None:
        app.middleware("http")(auditing(note))
    app.add_exception_handler(Rejected, answer_with(422))
    app.add_exception_handler(RetryLater, answer_with(503))
    return app


def _interface(parts: WebParts, access: Access) -> APIRouter:
    """Return the routes for programs."""
    router = APIRouter()

    @router.get("/healthz")
    def healthz() -> JSONResponse:
        health = dict(parts.health())
        return JSONResponse(health, 200 if health["status"] == "ok" else 503)

    @router.get("/api/studies/{study_uid}")
    def study(study_uid: str) -> dict[str, Any]:
        return view.study_json(_held(parts.study(study_uid)), parts.deliveries(study_uid))

    @router.get("/studies/{study_uid}/findings.json")
    def findings(study_uid: str) -> JSONResponse:
        return JSONResponse(_held(parts.findings(_held(parts.study(study_uid)).study_uid)))

    @router.get("/studies/{study_uid}/pages/{name}.png")
    def page(study_uid: str, name: str) -> Response:
        _held(parts.study(study_uid))
        is_known = name in parts.page_names(study_uid)
        png = _held(parts.page(study_uid, name) if is_known else None)
        return Response(png, media_type="image/png")

    @router.post(
        "/api/orthanc/{peer}/studies/{orthanc_id}",
        status_code=202,
        dependencies=[Depends(access.to_write)],
    )
    def orthanc_trigger(peer: str, orthanc_id: OrthancID) -> dict[str, str]:
        try:
            parts.orthanc_trigger(peer, orthanc_id)
        except LookupError as error:
            raise HTTPException(404, f"no Orthanc is called {peer!r} in this node") from error
        return {"state": "queued", "peer": peer, "orthanc_id": orthanc_id}

    @router.post(
        "/api/dicomweb/{peer}/studies/{study_uid}",
        status_code=202,
        dependencies=[Depends(access.to_write)],
    )
    def dicomweb_trigger(peer: str, study_uid: str) -> dict[str, str]:
        try:
            parts.dicomweb_trigger(peer, uid(study_uid, "Study Instance UID"))
        except LookupError as error:
            raise HTTPException(
                404, f"no DICOMweb archive is called {peer!r} in this node"
            ) from error
        return {"state": "queued", "peer": peer, "study_uid": study_uid}

    return router


def _pages(parts: WebParts, *, has_viewer: bool) -> APIRouter:
    """Return the routes for people."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    templates = _templates()

    @router.get("/")
    def work_list() -> str:
        rows = [view.work_row(row, parts.findings(row.study_uid)) for row in parts.studies()]
        return templates.get_template("work_list.html").render(rows=rows, refresh_s=10)

    @router.get("/studies/{study_uid}")
    def one_study(study_uid: str) -> str:
        row = _held(parts.study(study_uid))
        names = list(parts.page_names(study_uid))
        return templates.get_template("study.html").render(
            row=row,
            shown=view.study_view(parts.findings(study_uid), names),
            pages=names,
            deliveries=parts.deliveries(study_uid),
            deleted=parts.results_deleted(study_uid),
            viewer=viewer_link(study_uid) if has_viewer else None,
            refresh_s=3 if row.state in MOVING_STATES else 0,
        )

    return router


def _sign_in(access: Access) -> APIRouter:
    """Return the page where a person shows the token once, so that a viewer may read."""
    router = APIRouter(include_in_schema=False)
    templates = _templates()

    @router.get("/sign-in", response_class=HTMLResponse)
    def ask() -> str:
        return templates.get_template("sign_in.html").render(is_wrong=False)

    @router.post("/sign-in")
    def sign_in(request: Request, token: Annotated[str, Form()]) -> Response:
        answer: Response = RedirectResponse("/", 303)
        if access.sign_in(token, answer, is_secure=request.url.scheme == "https"):
            return answer
        return HTMLResponse(templates.get_template("sign_in.html").render(is_wrong=True), 403)

    return router


def _held(thing: T | None) -> T:
    """Return what there is; answer 404 when there is nothing."""
    if thing is None:
        raise HTTPException(404, "this node holds nothing by that name")
    return thing


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(notice=DISCLAIMER, version=__version__)
    templates.filters.update(utc=view.utc, short=view.short_uid, proof=view.proof)
    return templates


async def _with_security_headers(
    request: Request, go_on: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await go_on(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
