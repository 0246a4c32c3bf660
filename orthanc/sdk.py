"""The part of Orthanc's Python SDK (4.0 and later) that `plugin` uses, for the type checker alone.

Nothing imports this file at run time: inside Orthanc, only ``plugin.py`` is needed.
"""

# ruff: noqa: D102, N802 - the SDK's names
from collections.abc import Callable
from typing import Protocol


class ChangeTypes(Protocol):
    """The kinds of change this plugin listens to."""

    STABLE_STUDY: int
    ORTHANC_STARTED: int
    ORTHANC_STOPPED: int


class ErrorCodes(Protocol):
    """The errors this plugin tells apart."""

    UNKNOWN_RESOURCE: int


class RestOutput(Protocol):
    """Where a REST callback writes its answer."""

    def AnswerBuffer(self, content: str, mime: str, /) -> None: ...
    def SendHttpStatusCode(self, status: int, /) -> None: ...
    def SendMethodNotAllowed(self, allowed: str, /) -> None: ...


class Sdk(Protocol):
    """The part of the module ``orthanc`` (Orthanc's Python SDK, 4.0 and later) used here."""

    @property
    def ChangeType(self) -> ChangeTypes: ...
    @property
    def ErrorCode(self) -> ErrorCodes: ...
    @property
    def OrthancException(self) -> type[Exception]: ...
    def GetConfiguration(self) -> str: ...
    def GetGlobalProperty(self, number: int, default: str, /) -> str: ...
    def SetGlobalProperty(self, number: int, value: str, /) -> None: ...
    def RestApiGet(self, uri: str, /) -> bytes: ...
    def RestApiPut(self, uri: str, body: bytes, /) -> bytes: ...
    def LogError(self, message: str, /) -> None: ...
    def LogWarning(self, message: str, /) -> None: ...
    def RegisterOnChangeCallback(self, callback: Callable[[int, int, str], None], /) -> None: ...
    def RegisterRestCallback(self, uri: str, callback: Callable[..., None], /) -> None: ...
