"""What a client accepts, and multipart answers (PS3.18 sections 8.6 and 8.7)."""

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fastapi import HTTPException, Request
from fastapi.responses import StreamingResponse

DICOM, DICOM_JSON, OCTETS = (
    "application/dicom", "application/dicom+json", "application/octet-stream",
)  # fmt: skip

_RANGES = re.compile(r'((?:[^",]|"[^"]*")+)')
_PARAMETER = re.compile(r';\s*([-\w]+)\s*=\s*("[^"]*"|[^;,\s]*)')
_TYPE = re.compile(r"\s*([-\w.+*]+/[-\w.+*]+)")


@dataclass(frozen=True)
class Wanted:
    """One media range of an Accept header.

    Attributes
    ----------
    kind : str
        A media type, perhaps with wildcards; of a multipart answer that of its parts.
    is_multipart : bool or None
        None where both will do.
    syntax : str or None
        A transfer syntax, ``*`` for any, None where none is named.
    """

    kind: str
    is_multipart: bool | None
    syntax: str | None


@dataclass(frozen=True)
class Offer:
    """A form in which a resource can be had."""

    kind: str
    is_multipart: bool = False


def accepted(request: Request) -> list[Wanted]:
    """Return what a client accepts, most preferred first; nothing stated is anything at all.

    The ``accept`` query parameter goes before the header (PS3.18 section 8.3.3.1).
    """
    text = request.query_params.get("accept") or ", ".join(request.headers.getlist("accept"))
    ranges: list[tuple[float, Wanted]] = []
    for one in _RANGES.findall(text or "*/*"):
        kind = _TYPE.match(one)
        if kind is None:
            continue
        parameters = {k.lower(): v.strip('"') for k, v in _PARAMETER.findall(one)}
        weight = _weight(parameters.get("q", "1"))
        if weight > 0:
            ranges.append((weight, _wanted(kind[1].lower(), parameters)))
    return [wanted for _, wanted in sorted(ranges, key=lambda pair: -pair[0])]


def choose(wanted: Sequence[Wanted], offers: Sequence[Offer]) -> tuple[Offer, str | None]:
    """Return the offer that a client likes best, and the transfer syntax it named with it.

    Raises
    ------
    HTTPException
        406 when there is none.
    """
    for one in wanted:
        for offer in offers:
            if one.is_multipart in {None, offer.is_multipart} and fnmatchcase(offer.kind, one.kind):
                return offer, one.syntax
    kinds = ", ".join(
        f'multipart/related; type="{o.kind}"' if o.is_multipart else o.kind for o in offers
    )
    raise HTTPException(406, f"this resource can be had as: {kinds}")


def require_json(request: Request) -> None:
    """Raise 406 for a client that does not accept DICOM JSON."""
    choose(accepted(request), [Offer(DICOM_JSON), Offer("application/json")])


@dataclass(frozen=True)
class Piece:
    """One part of a multipart answer.

    Attributes
    ----------
    kind : str
        Content-Type.
    location : str
        Content-Location.
    chunks : iterable of bytes
    """

    kind: str
    location: str
    chunks: Iterable[bytes]


def multipart(kind: str, pieces: Iterable[Piece]) -> StreamingResponse:
    """Return an answer of several parts, each made when its turn comes."""
    boundary = secrets.token_hex(16)
    return StreamingResponse(
        _encoded(boundary, pieces),
        media_type=f'multipart/related; type="{kind}"; boundary={boundary}',
    )


def _encoded(boundary: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    between = ""
    for piece in pieces:
        head = (
            f"{between}--{boundary}\r\nContent-Type: {piece.kind}\r\n"
            f"Content-Location: {piece.location}\r\n\r\n"
        )
        yield head.encode("ascii")
        yield from piece.chunks
        between = "\r\n"
    yield f"{between}--{boundary}--\r\n".encode("ascii")


def _wanted(kind: str, parameters: dict[str, str]) -> Wanted:
    syntax = parameters.get("transfer-syntax")
    if kind in {"multipart/related", "multipart/*"}:
        return Wanted(parameters.get("type", "*/*").lower(), is_multipart=True, syntax=syntax)
    return Wanted(kind, None if kind == "*/*" else False, syntax)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
