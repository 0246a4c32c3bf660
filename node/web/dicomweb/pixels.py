"""WADO-RS: frames, pictures and bulk data of one instance (PS3.18 sections 10.4 and 8.7)."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from node.dicom.dicomweb import json_model
from node.dicom.reading import stored_frames
from node.dicom.reading.decoder import Decoder
from node.dicom.reading.stored_frames import Frames
from node.web.access import Access
from node.web.dicomweb.holdings import Links
from node.web.dicomweb.media import OCTETS, Offer, Piece, accepted, choose, multipart
from node.web.dicomweb.rendered import picture
from node.web.dicomweb.retrieve import ANSWERS, INSTANCE, find
from node.web.parts import Held, WebParts


def router(parts: WebParts, access: Access) -> APIRouter:
    """Return the routes to the pixels and other large values of an instance."""
    routes = APIRouter(dependencies=[Depends(access.to_read)], tags=["WADO-RS"], responses=ANSWERS)
    held = partial(find, parts)

    @routes.get(f"{INSTANCE}/frames/{{numbers}}", response_class=Response)
    def some_frames(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, numbers: str
    ) -> Response:
        """Retrieve frames, numbered from 1."""
        (one,) = held(study_uid, series_uid, instance_uid)
        pixels = _pixels(one)
        return _frames(request, one, pixels, _numbers(numbers, pixels))

    @routes.get(f"{INSTANCE}/rendered", response_class=Response)
    def rendered(request: Request, study_uid: str, series_uid: str, instance_uid: str) -> Response:
        """Retrieve an instance as a picture, of several frames the first."""
        (one,) = held(study_uid, series_uid, instance_uid)
        return _rendered(request, _pixels(one), 1)

    @routes.get(f"{INSTANCE}/frames/{{number}}/rendered", response_class=Response)
    def rendered_frame(
        request: Request, study_uid: str, series_uid: str, instance_uid: str, number: str
    ) -> Response:
        """Retrieve a frame as a picture."""
        (one,) = held(study_uid, series_uid, instance_uid)
        pixels = _pixels(one)
        return _rendered(request, pixels, _numbers(number, pixels)[0])

    @routes.get(f"{INSTANCE}/bulkdata/{{place:path}}", response_class=Response)
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


def _pixels(one: Held) -> Frames:
    try:
        return stored_frames.frames_of(one.path)
    except stored_frames.NoPixels as error:
        raise HTTPException(404, str(error)) from error


def _numbers(text: str, pixels: Frames) -> Sequence[int]:
    wanted = stored_frames.numbers(text, pixels.count)
    if not wanted:
        raise HTTPException(404, f"the frames of this instance are 1 to {pixels.count}")
    return wanted


def _frames(request: Request, one: Held, pixels: Frames, numbers: Sequence[int]) -> Response:
    """Return frames uncompressed, or compressed as they are stored."""
    offers = [Offer(OCTETS, is_multipart=True)]
    if not pixels.is_native:
        offers.insert(0, Offer(stored_frames.MEDIA_TYPES[pixels.syntax], is_multipart=True))
    if len(numbers) == 1:
        offers.append(Offer(OCTETS))
    offer, syntax = choose(accepted(request), offers)
    is_raw = offer.kind != OCTETS or syntax in {"*", pixels.syntax}
    if not is_raw and syntax not in {None, stored_frames.EXPLICIT}:
        raise HTTPException(
            406, f"frames can be had as they are stored, or as {stored_frames.EXPLICIT}"
        )
    said = pixels.syntax if is_raw and not pixels.is_native else stored_frames.EXPLICIT
    kind = f"{offer.kind}; transfer-syntax={said}"
    address = f"{Links.of(request).instance(one)}/frames"
    read = _read(pixels, numbers, is_raw=is_raw)
    first = next(read)  # what cannot be decoded is said before the answer begins
    if not offer.is_multipart:
        return Response(first, media_type=kind)
    every = zip(numbers, chain([first], read), strict=True)
    return multipart(offer.kind, (Piece(kind, f"{address}/{n}", [frame]) for n, frame in every))


def _read(pixels: Frames, numbers: Sequence[int], *, is_raw: bool) -> Iterator[bytes]:
    with Decoder() as decoder:
        for number in numbers:
            yield pixels.stored(number) if is_raw else pixels.decoded(number, decoder)


def _rendered(request: Request, pixels: Frames, number: int) -> Response:
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
