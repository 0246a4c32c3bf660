"""The DICOMweb service: one application under ``/dicom-web``, with errors as PS3.18 asks."""

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from node import __version__
from node.errors import InvalidInstance, RetryLater
from node.web.access import Access
from node.web.dicomweb import pixels, retrieve, search, store
from node.web.parts import WebParts


def create_service(parts: WebParts, access: Access) -> FastAPI:
    """Build the application that is mounted at `holdings.PATH`."""
    service = FastAPI(
        title="lumbar-node DICOMweb",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        description="PS3.18: STOW-RS, QIDO-RS and WADO-RS over the studies this node holds.",
    )
    for module in (store, search, retrieve, pixels):
        service.include_router(module.router(parts, access))
    # What is held was checked when it came in; what cannot be decoded all the same is gone.
    service.add_exception_handler(InvalidInstance, answer_with(410))
    service.add_exception_handler(RetryLater, answer_with(503))
    return service


def answer_with(status: int) -> Callable[[Request, Exception], JSONResponse]:
    """Return a handler that answers an error with a status and the error's words."""
    return lambda _request, error: JSONResponse({"detail": str(error)}, status)
