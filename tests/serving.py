"""An ASGI application on a loopback port, as a context manager."""

import threading
from typing import Any, Self

import uvicorn

from node.loopback import free_port
from tests.waiting import wait_for


class Served:
    """An application that is served while this is entered.

    Parameters
    ----------
    app : ASGI application
    port : int, optional
        A free one when none is given.
    **settings
        Of uvicorn.
    """

    def __init__(self, app: Any, port: int | None = None, **settings: Any) -> None:
        self.port = port or free_port()
        options = uvicorn.Config(app, port=self.port, log_level="warning", **settings)
        self._server = uvicorn.Server(options)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, what="the application")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
