"""WADO-RS: instances and their metadata (PS3.18 section 10.4)."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from node.dicom.dicomweb import json_model
from node.dicom.reading import stored_frames
from node.dicom.reading.decoder import Decoder
from node.errors import InvalidInstance
from node.web.access import Access
from node.web.dicomweb.holdings import Links
from node.web.dicomweb.media import (
    DICOM,
    DICOM_JSON,
    Offer,
    Piece,
    accepted,
    choose,
    multipart,
    require_json,
)
from node.web.parts import Held, WebParts

log = structlog.get_logger()

CHUNK = 256 << 10
ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The address makes no sense."},
    401: {"description": "A bearer token is needed."},
    404: {"description": "This node does not hold it."},
    406: {"description": "It cannot be had in the form that the client accepts."},
    410: {"description": "It is damaged, or its pixels cannot be decoded."},
}
SERIES = "/studies/{study_uid}/series/{series_uid}"
INSTANCE = f"{SERIES}/instances/{{instance_uid}}"


def router(parts: WebParts, access: Access) -> APIRouter:
    """Return the routes of WADO-RS."""
    routes = APIRouter(dependencies=[Depends(access.to_read)], tags=["WADO-RS"], responses=ANSWERS)

    held = partial(find, parts)

    @routes.get("/studies/{study_uid}", response_class=Response)
    def study(request: Request, study_uid: str) -> Response:
        """Retrieve a study: the images and what this node made of them."""
        return _instances(request, held(study_uid))

    @routes.get(SERIES, response_class=Response)
    def series(request: Request, study_uid: str, series_uid: str) -> Response:
        """Retrieve a series."""
        return _instances(request, held(study_uid, series_uid))

    @routes.get(INSTANCE, response_class=Response)
    def instance(request: Request, study_uid: str, series_uid: str, instance_uid: str) -> Response:
        """Retrieve an instance."""
        return _instances(request, held(study_uid, series_uid, instance_uid), is_one=True)

    @routes.get("/studies/{study_uid}/metadata", dependencies=[Depends(require_json)])
    def study_metadata(request: Request, study_uid: str) -> Response:
        """Retrieve the metadata of a study."""
        return _metadata(request, held(study_uid))

    @routes.get(f"{SERIES}/metadata", dependencies=[Depends(require_json)])
    def series_metadata(request: Request, study_uid: str, series_uid: str) -> Response:
        """Retrieve the metadata of a series."""
        return _metadata(request, held(study_uid, series_uid))

    @routes.get(f"{INSTANCE}/metadata", dependencies=[Depends(require_json)])
    def instance_metadata(
        request: Request, study_uid: str, series_uid: str, instance_uid: str
    ) -> Response:
        """Retrieve the metadata of an instance."""
        return _metadata(request, held(study_uid, series_uid, instance_uid))

    return routes


def find(
    parts: WebParts, study_uid: str, series_uid: str = "", instance_uid: str = ""
) -> Sequence[Held]:
    """Return what an address names; answer 404 when there is nothing."""
    found = [
        one
        for one in parts.held(study_uid)
        if series_uid in {"", one.series_uid} and instance_uid in {"", one.sop_instance_uid}
    ]
    if not found:
        raise HTTPException(404, "this node holds nothing by that name")
    return found


def _instances(request: Request, objects: Sequence[Held], *, is_one: bool = False) -> Response:
    """Return files as they are stored, or uncompressed where the client asks for no other."""
    offers = [Offer(DICOM, is_multipart=True), *([Offer(DICOM)] if is_one else [])]
    offer, syntax = choose(accepted(request), offers)
    if any(not _can_be_had(one, syntax) for one in objects):
        raise HTTPException(
            406,
            "an instance can be had as it is stored (transfer-syntax=*) or uncompressed "
            f"(transfer-syntax={stored_frames.EXPLICIT})",
        )
    pieces = _pieces(objects, syntax or stored_frames.EXPLICIT, Links.of(request))
    first = next(pieces)  # what is wrong with it is said before the answer begins
    if offer.is_multipart:
        return multipart(DICOM, chain([first], pieces))
    return StreamingResponse(first.chunks, media_type=first.kind)


def _can_be_had(one: Held, syntax: str | None) -> bool:
    return syntax in {None, "*", stored_frames.EXPLICIT, one.transfer_syntax_uid}


def _pieces(objects: Sequence[Held], syntax: str, links: Links) -> Iterator[Piece]:
    """Yield files in a transfer syntax; of several, one that cannot be decoded is left out."""
    with Decoder() as decoder:
        for one in objects:
            said, chunks = one.transfer_syntax_uid, _stored(one.path)
            if syntax not in {"*", said}:
                try:
                    said, chunks = syntax, iter([stored_frames.converted(one.path, decoder)])
                except InvalidInstance as error:
                    if len(objects) == 1:
                        raise
                    log.warning("not sent", study_uid=one.study_uid, reason=str(error))
                    continue
            yield Piece(f"{DICOM}; transfer-syntax={said}", links.instance(one), chunks)


def _stored(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _metadata(request: Request, objects: Sequence[Held]) -> Response:
    links = Links.of(request)

    def lines() -> Iterator[bytes]:
        before = "["
        for one in objects:
            try:
                told = json_model.metadata(one.path, partial(links.bulk, one))
            except InvalidInstance as error:
                log.warning("metadata left out", study_uid=one.study_uid, reason=str(error))
                continue
            yield (before + json.dumps(told, allow_nan=False)).encode()
            before = ","
        yield b"]" if before == "," else b"[]"

    return StreamingResponse(lines(), media_type=DICOM_JSON)
