"""Who looked at which study through the web, and who was turned away, for the audit trail."""

import re
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from node.dicom.audit import Event

Note = Callable[[Event], None]

_STUDY = re.compile(r"/studies/([0-9.]{1,64})(?:/|$)")


def auditing(
    note: Note,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    """Return a middleware that notes each study that was read and each refused request.

    Parameters
    ----------
    note : callable
        Takes an `Event`; the same again soon is its business.
    """

    async def middleware(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await go_on(request)
        address = request.client.host if request.client else ""
        found = _STUDY.search(request.url.path)
        if response.status_code in {401, 403}:
            note(Event("refused", "web", address, failure="a web request without the token"))
        elif found and request.method == "GET" and response.status_code < 300:
            note(Event("read", "web", address, found.group(1)))
        return response

    return middleware
