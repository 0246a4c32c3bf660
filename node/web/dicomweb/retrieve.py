"""WADO-RS: instances, metadata, frames, pictures and bulk data (PS3.18 section 10.4)."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from node.dicom import json_model, stored_frames
from node.errors import InvalidInstance
from node.web.access import Access
from node.web.dicomweb.holdings import Links
from node.web.dicomweb.media import (
    DICOM,
    DICOM_JSON,
    OCTETS,
    Offer,
    Piece,
    accepted,
    choose,
    multipart,
    require_json,
)
from node.web.dicomweb.rendered import picture
from node.web.parts import Held, WebParts

log = structlog.get_logger()

CHUNK = 256 << 10
_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The address makes no sense."},
    401: {"description": "A bearer token is needed."},
    404: {"description": "This node does not hold it."},
    406: {"description": "It cannot be had in the form that the client accepts."},
}
_SERIES = "/studies/{study_uid}/series/{series_uid}"
_INSTANCE = f"{_SERIES}/instances/{{instance_uid}}"


def router(parts: WebParts, access: Access) -> APIRouter:
    """Return the routes of WADO-RS."""
    routes = APIRouter(dependencies=[Depends(access.to_read)], tags=["WADO-RS"], responses=_ANSWERS)

    def held(study_uid: str, series_uid: str = "", instance_uid: str = "") -> Sequence[Held]:
        found = [
            one
            for one in parts.held(study_uid)
            if series_uid in {"", one.series_uid} and instance_uid in {"", one.sop_instance_uid}
        ]
        if not found:
            raise HTTPException(404, "this node holds nothing by that name")
        return found

    @routes.get("/studies/{study_uid}", response_class=Response)
    def study(request: Request, study_uid: str) -> Response:
        """Retrieve a study: the images and what this node made of them."""
        return _instances(request, held(study_uid))

    @routes.get(_SERIES, response_class=Response)
    def series(request: Request, study_uid: str, series_uid: str) -> Response:
        """Retrieve a series."""
        return _instances(request, held(study_uid, series_uid))

    @routes.get(_INSTANCE, response_class=Response)
    def instance(
        request: Request, study_uid: str, series_uid: str, instance_uid: str
    ) -> Response:
        """Retrieve an instance."""
        return _instances(request, held(study_uid, series_uid, instance_uid), is_one=True)

    @routes.get("/studies/{study_uid}/metadata", dependencies=[Depends(require_json)])
    def study_metadata(request: Request, study_uid: str) -> Response:
        """Retrieve the metadata of a study."""
        return _metadata(request, held(study_uid))

    @routes.get(f"{_SERIES}/metadata", dependencies=[Depends(require_json)])
    def series_metadata(request: Request, study_uid: str, series_uid: str) -> Response:
        """Retrieve the metadata of a series."""
        return _metadata(request, held(study_uid, series_uid))

    @routes.get(f"{_INSTANCE}/metadata", dependencies=[Depends(require_json)])
    def instance_metadata(
        request: Request, study_uid: str, series_uid: str, instance_uid: str
    ) -> Response:
        """Retrieve the metadata of an instance."""
        return _metadata(request, held(study_uid, series_uid, instance_uid))

    @routes.get(f"{_INSTANCE}/frames/{{numbers}}", response_class=Response)
    def some_frames(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, numbers: str
    ) -> Response:
        """Retrieve frames, numbered from 1."""
        (one,) = held(study_uid, series_uid, instance_uid)
        pixels = _pixels(one)
        return _frames(request, one, pixels, _numbers(numbers, pixels))

    @routes.get(f"{_INSTANCE}/rendered", response_class=Response)
    def rendered(
        request: Request, study_uid: str, series_uid: str, instance_uid: str
    ) -> Response:
        """Retrieve an instance as a picture, of several frames the first."""
        (one,) = held(study_uid, series_uid, instance_uid)
        return _rendered(request, _pixels(one), 1)

    @routes.get(f"{_INSTANCE}/frames/{{number}}/rendered", response_class=Response)
    def rendered_frame(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, number: str
    ) -> Response:
        """Retrieve a frame as a picture."""
        (one,) = held(study_uid, series_uid, instance_uid)
        pixels = _pixels(one)
        return _rendered(request, pixels, _numbers(number, pixels)[0])

    @routes.get(f"{_INSTANCE}/bulkdata/{{place:path}}", response_class=Response)
    def bulk(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, place: str
    ) -> Response:
        """Retrieve a value that the metadata gave an address."""
        (one,) = held(study_uid, series_uid, instance_uid)
        if place.upper() == json_model.PIXELS:
            pixels = _pixels(one)
            return _frames(request, one, pixels, range(1, pixels.count + 1))
        return _bulk(request, one, place)

    return routes


def _instances(request: Request, objects: Sequence[Held], *, is_one: bool = False) -> Response:
    """Return files as they are stored, or uncompressed where the client asks for no other."""
    offers = [Offer(DICOM, is_multipart=True), *([Offer(DICOM)] if is_one else [])]
    offer, syntax = choose(accepted(request), offers)
    ways = [_way(one, syntax or stored_frames.EXPLICIT) for one in objects]
    links = Links.of(request)
    pieces = (
        Piece(f"{DICOM}; transfer-syntax={said}", links.instance(one), chunks())
        for one, (said, chunks) in zip(objects, ways, strict=True)
    )
    if offer.is_multipart:
        return multipart(DICOM, pieces)
    piece = next(iter(pieces))
    return StreamingResponse(piece.chunks, media_type=piece.kind)


def _way(one: Held, syntax: str) -> tuple[str, Callable[[], Iterator[bytes]]]:
    """Return the transfer syntax in which an instance is sent, and how its bytes are made."""
    if syntax in {"*", one.transfer_syntax_uid}:
        return one.transfer_syntax_uid, partial(_stored, one)
    if syntax == stored_frames.EXPLICIT:
        return syntax, partial(_converted, one)
    raise HTTPException(
        406,
        "an instance can be had as it is stored (transfer-syntax=*) or uncompressed "
        f"(transfer-syntax={stored_frames.EXPLICIT})",
    )


def _stored(one: Held) -> Iterator[bytes]:
    with one.path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _converted(one: Held) -> Iterator[bytes]:
    yield stored_frames.converted(one.path)


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


def _pixels(one: Held) -> stored_frames.Frames:
    try:
        return stored_frames.frames_of(one.path)
    except stored_frames.NoPixels as error:
        raise HTTPException(404, str(error)) from error


def _numbers(text: str, pixels: stored_frames.Frames) -> Sequence[int]:
    wanted = stored_frames.numbers(text, pixels.count)
    if not wanted:
        raise HTTPException(404, f"the frames of this instance are 1 to {pixels.count}")
    return wanted


def _frames(
    request: Request, one: Held, pixels: stored_frames.Frames, numbers: Sequence[int]
) -> Response:
    """Return frames uncompressed, or compressed as they are stored."""
    offers = [Offer(OCTETS, is_multipart=True)]
    if not pixels.is_native:
        offers.insert(0, Offer(stored_frames.MEDIA_TYPES[pixels.syntax], is_multipart=True))
    if len(numbers) == 1:
        offers.append(Offer(OCTETS))
    offer, syntax = choose(accepted(request), offers)
    is_raw = offer.kind != OCTETS or syntax in {"*", pixels.syntax}
    if not is_raw and syntax not in {None, stored_frames.EXPLICIT}:
        raise HTTPException(406, f"frames can be had as they are stored, or as {stored_frames.EXPLICIT}")
    if pixels.is_native:
        said = stored_frames.EXPLICIT
    else:
        said = pixels.syntax if is_raw else stored_frames.EXPLICIT
    read = pixels.stored if is_raw else pixels.decoded
    kind = f"{offer.kind}; transfer-syntax={said}"
    if not offer.is_multipart:
        return Response(read(numbers[0]), media_type=kind)
    address = Links.of(request).instance(one)
    first = read(numbers[0])  # what cannot be decoded is said before the answer begins
    rest = (Piece(kind, f"{address}/frames/{n}", [read(n)]) for n in numbers[1:])
    begin = Piece(kind, f"{address}/frames/{numbers[0]}", [first])
    return multipart(offer.kind, (piece for group in ([begin], rest) for piece in group))


def _rendered(request: Request, pixels: stored_frames.Frames, number: int) -> Response:
    offer, _ = choose(accepted(request), [Offer("image/jpeg"), Offer("image/png")])
    return Response(picture(pixels, number, offer.kind), media_type=offer.kind)


def _bulk(request: Request, one: Held, place: str) -> Response:
    offer, _ = choose(accepted(request), [Offer(OCTETS, is_multipart=True), Offer(OCTETS)])
    value = json_model.bulk(one.path, place)
    if value is None:
        raise HTTPException(404, "there is no bulk data at this place")
    if not offer.is_multipart:
        return Response(value, media_type=OCTETS)
    address = Links.of(request).bulk(one, place)
    return multipart(OCTETS, [Piece(OCTETS, address, [value])])
