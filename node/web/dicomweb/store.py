"""STOW-RS: instances come in as they do by C-STORE (PS3.18 section 10.5)."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from node.dicom import statuses
from node.dicom.arrival import Arrival, Verdict
from node.dicom.dicomweb.multipart import BrokenMessage, MultipartReader
from node.dicom.reading.limits import uid
from node.errors import InvalidInstance
from node.web.access import Access
from node.web.dicomweb.holdings import Links
from node.web.dicomweb.media import DICOM_JSON, require_json
from node.web.parts import WebParts

log = structlog.get_logger()

RETRY_AFTER_S = 60
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            'multipart/related; type="application/dicom"': {
                "schema": {"type": "string", "format": "binary"}
            }
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {"description": "Some instances were not stored: the answer says which and why."},
    400: {"description": "The message is not well-formed; what came before is stored."},
    401: {"description": "A bearer token is needed."},
    406: {"description": "The client does not accept DICOM JSON."},
    409: {"description": "No instance was stored: the answer says why."},
    415: {"description": "The message is not multipart/related of application/dicom."},
    503: {"description": "There is no room now: try again later."},
}


def router(parts: WebParts, access: Access) -> APIRouter:
    """Return the routes of STOW-RS."""
    routes = APIRouter(
        dependencies=[Depends(access.to_write), Depends(require_json)],
        tags=["STOW-RS"],
        responses=_ANSWERS,
    )

    @routes.post("/studies", openapi_extra=_BODY)
    async def store(request: Request) -> JSONResponse:
        """Store instances of any study."""
        return await _store(parts, request, None)

    @routes.post("/studies/{study_uid}", openapi_extra=_BODY)
    async def store_in_study(request: Request, study_uid: str) -> JSONResponse:
        """Store instances of one study; those of another are refused."""
        try:
            return await _store(parts, request, uid(study_uid, "Study Instance UID"))
        except InvalidInstance as error:
            raise HTTPException(400, str(error)) from error

    return routes


async def _store(parts: WebParts, request: Request, study_uid: str | None) -> JSONResponse:
    """Read the message as it comes; each instance is durable before the next is looked at."""
    verdicts: list[Verdict] = []
    source = f"stow:{request.client.host if request.client else 'unknown'}"

    def arrive() -> Arrival:
        return Arrival(
            parts.intake,
            source,
            verdicts.append,
            study_uid=study_uid,
            ignores=parts.ignores_others,
        )

    try:
        reader = MultipartReader(request.headers.get("content-type", ""), arrive)
    except BrokenMessage as error:
        raise HTTPException(415, str(error)) from error
    try:
        async for chunk in request.stream():
            await run_in_threadpool(reader.feed, chunk)
        reader.close()
    except BrokenMessage as error:
        raise HTTPException(400, str(error)) from error
    except ClientDisconnect as error:
        log.warning("a client broke off", source=source, instances=len(verdicts))
        raise HTTPException(400, "the message was cut off") from error
    finally:
        reader.drop()
    if not verdicts:
        raise HTTPException(400, "the message holds no instance")
    return _answer(verdicts, Links.of(request))


def _answer(verdicts: Sequence[Verdict], links: Links) -> JSONResponse:
    """Return the Store Instances Response module (PS3.18 annex I.2) and its status."""
    failed = [v for v in verdicts if v.status != statuses.SUCCESS]
    told = Dataset()
    studies = {v.row.study_uid for v in verdicts if v.row}
    told.RetrieveURL = links.study(studies.pop()) if len(studies) == 1 else None
    told.ReferencedSOPSequence = Items(_stored(v, links) for v in verdicts if v not in failed)
    told.FailedSOPSequence = Items(_failed(v) for v in failed if v.sop_instance_uid)
    told.OtherFailuresSequence = Items(_failed(v) for v in failed if not v.sop_instance_uid)
    for keyword in ("ReferencedSOPSequence", "FailedSOPSequence", "OtherFailuresSequence"):
        if not told[keyword].value:
            del told[keyword]
    headers = {}
    if failed:
        headers["Warning"] = f'299 lumbar-node "{len(failed)} not stored: {failed[0].reason}"'
    status = _status(verdicts, failed)
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(told.to_json_dict(), status, headers, DICOM_JSON)


def _status(verdicts: Sequence[Verdict], failed: Sequence[Verdict]) -> int:
    if not failed:
        return 200
    if len(failed) < len(verdicts):
        return 202
    return 503 if all(v.status == statuses.OUT_OF_RESOURCES for v in failed) else 409


def _stored(verdict: Verdict, links: Links) -> Dataset:
    item = _reference(verdict)
    item.RetrieveURL = links.instance(verdict.row) if verdict.row else None
    return item


def _failed(verdict: Verdict) -> Dataset:
    item = _reference(verdict) if verdict.sop_instance_uid else Dataset()
    item.FailureReason = verdict.status
    return item


def _reference(verdict: Verdict) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = verdict.sop_class_uid
    item.ReferencedSOPInstanceUID = verdict.sop_instance_uid
    return item
