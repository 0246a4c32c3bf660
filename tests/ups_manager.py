"""A workflow manager with a UPS-RS worklist, in memory, over real HTTP: it stands for dcm4chee.

It holds a performer to PS3.4 annex CC: who may change what in which state, and what has to be there
before an item may end.
"""

import json
from typing import Any

from fastapi import FastAPI, Request, Response
from pydicom import Dataset

from tests.serving import Served

STATE, TRANSACTION = "00741000", "00081195"
JSON = "application/dicom+json"
#: PS3.4 table CC.2.5-3: what the performed procedure of a completed item holds.
FINAL = {"00404028", "00404050", "00404051", "00404019", "00404033"}
ALLOWED = {("SCHEDULED", "IN PROGRESS"), ("IN PROGRESS", "COMPLETED"), ("IN PROGRESS", "CANCELED")}


def workitem(uid: str, study_uid: str, code: str = "LUMBAR", retrieve_url: str = "") -> Dataset:
    """Return a scheduled item whose input is one study."""
    kind, place, wanted = Dataset(), Dataset(), Dataset()
    kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = code, "99SITE", "analyse"
    wanted.TypeOfInstances, wanted.StudyInstanceUID = "DICOM", study_uid
    if retrieve_url:
        place.RetrieveURL = retrieve_url
        wanted.WADORSRetrievalSequence = [place]
    item = Dataset()
    item.SOPInstanceUID, item.ProcedureStepState = uid, "SCHEDULED"
    item.ScheduledWorkitemCodeSequence = [kind]
    item.InputInformationSequence = [wanted]
    return item


class Manager(Served):
    """The manager; a context manager that runs it."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        self.is_away = False
        super().__init__(self._app())
        self.url = f"http://127.0.0.1:{self.port}/dicom-web"

    def schedule(self, item: Dataset) -> None:
        """Put an item on the worklist."""
        self.items[item.SOPInstanceUID] = item.to_json_dict()

    def state(self, uid: str) -> str:
        """Return the state of an item."""
        return str(self.items[uid][STATE]["Value"][0])

    def item(self, uid: str) -> Dataset:
        """Return an item."""
        return Dataset.from_json(self.items[uid])

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def away(request: Request, go_on: Any) -> Response:
            return Response(status_code=503) if self.is_away else await go_on(request)

        @app.get("/dicom-web/workitems")
        def search(request: Request) -> Response:
            asked = request.query_params
            code = asked.get("ScheduledWorkitemCodeSequence.CodeValue")
            found = [
                item
                for uid, item in self.items.items()
                if asked.get("ProcedureStepState") in {None, self.state(uid)}
                and code in {None, item["00404018"]["Value"][0]["00080100"]["Value"][0]}
            ]
            return Response(json.dumps(found), media_type=JSON)

        @app.get("/dicom-web/workitems/{uid}")
        def retrieve(uid: str) -> Response:
            if uid not in self.items:
                return Response(status_code=404)
            return Response(json.dumps([self.items[uid]]), media_type=JSON)

        @app.post("/dicom-web/workitems/{uid}")
        async def update(request: Request, uid: str) -> Response:
            told = await request.json()
            status = self._refusal(uid, request.url.query)
            if status == 200:
                self.items[uid] |= told
                self.history.append((uid, "update"))
            return Response(status_code=status)

        @app.put("/dicom-web/workitems/{uid}/state")
        async def change(request: Request, uid: str) -> Response:
            told = await request.json()
            wanted, owner = told[STATE]["Value"][0], told[TRANSACTION]["Value"][0]
            return Response(status_code=self._change(uid, wanted, owner))

        return app

    def _refusal(self, uid: str, owner: str) -> int:
        if uid not in self.items:
            return 404
        if self.state(uid) in {"COMPLETED", "CANCELED"}:
            return 410
        is_owner = self.state(uid) == "SCHEDULED" or self.owners.get(uid) == owner
        return 200 if is_owner else 409

    def _change(self, uid: str, wanted: str, owner: str) -> int:
        status = self._refusal(uid, owner)
        if status != 200:
            return status
        if (self.state(uid), wanted) not in ALLOWED:
            return 409
        if wanted == "COMPLETED":
            performed = self.items[uid].get("00741216", {}).get("Value", [{}])[0]
            if not set(performed) >= FINAL:
                return 409
        self.owners[uid] = owner
        self.items[uid][STATE]["Value"] = [wanted]
        self.history.append((uid, wanted))
        return 200
