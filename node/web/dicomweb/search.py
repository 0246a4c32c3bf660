"""QIDO-RS: search studies, series and instances (PS3.18 section 10.6)."""

from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from node.web.access import Access
from node.web.dicomweb.holdings import Links, Search
from node.web.dicomweb.media import DICOM_JSON, require_json
from node.web.dicomweb.query import BadQuery, Level, parse
from node.web.parts import WebParts

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The matches, none of them perhaps.",
        "content": {DICOM_JSON: {"schema": {"type": "array", "items": {"type": "object"}}}},
    },
    400: {"description": "A parameter makes no sense, or is no key that this node matches."},
    401: {"description": "A bearer token is needed."},
    406: {"description": "The client does not accept DICOM JSON."},
}
_PARAMETERS = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": words}
        for name, schema, words in (
            ("limit", {"type": "integer", "minimum": 0}, "Matches at most."),
            ("offset", {"type": "integer", "minimum": 0}, "Matches to leave out first."),
            ("fuzzymatching", {"type": "boolean"}, "Left aside, with a warning."),
            ("includefield", {"type": "string"}, "Attributes beside the usual ones, or all."),
            ("PatientID", {"type": "string"}, "Like every key: by keyword or tag, * and ?."),
            ("StudyDate", {"type": "string"}, "YYYYMMDD, or a range with a hyphen."),
        )
    ]
}


def router(parts: WebParts, access: Access) -> APIRouter:
    """Return the routes of QIDO-RS."""
    routes = APIRouter(
        dependencies=[Depends(access.to_read), Depends(require_json)],
        tags=["QIDO-RS"],
        responses=_ANSWERS,
    )

    def answer(
        request: Request, level: Level, study_uid: str | None = None, series_uid: str | None = None
    ) -> JSONResponse:
        try:
            query = parse(level, request.query_params.multi_items())
        except BadQuery as error:
            raise HTTPException(400, str(error)) from error
        links = Links.of(request)
        found, has_more = Search(parts, query, links, study_uid, series_uid).run()
        warnings = list(query.warnings)
        if has_more:
            warnings.append("There are additional results that can be requested.")
        headers = {"Warning": ", ".join(f'299 {links.base}: "{w}"' for w in warnings)}
        return JSONResponse(found, 200, headers if warnings else None, DICOM_JSON)

    @routes.get("/studies", openapi_extra=_PARAMETERS)
    def studies(request: Request) -> JSONResponse:
        """Search all studies."""
        return answer(request, Level.STUDY)

    @routes.get("/series", openapi_extra=_PARAMETERS)
    def series(request: Request) -> JSONResponse:
        """Search all series."""
        return answer(request, Level.SERIES)

    @routes.get("/studies/{study_uid}/series", openapi_extra=_PARAMETERS)
    def series_of_study(request: Request, study_uid: str) -> JSONResponse:
        """Search the series of a study."""
        return answer(request, Level.SERIES, study_uid)

    @routes.get("/instances", openapi_extra=_PARAMETERS)
    def instances(request: Request) -> JSONResponse:
        """Search all instances."""
        return answer(request, Level.INSTANCE)

    @routes.get("/studies/{study_uid}/instances", openapi_extra=_PARAMETERS)
    def instances_of_study(request: Request, study_uid: str) -> JSONResponse:
        """Search the instances of a study."""
        return answer(request, Level.INSTANCE, study_uid)

    @routes.get("/studies/{study_uid}/series/{series_uid}/instances", openapi_extra=_PARAMETERS)
    def instances_of_series(request: Request, study_uid: str, series_uid: str) -> JSONResponse:
        """Search the instances of a series."""
        return answer(request, Level.INSTANCE, study_uid, series_uid)

    return routes
