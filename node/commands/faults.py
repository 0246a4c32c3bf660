"""Faults in the log: where they happened, without words of libraries, which may quote a header.

pydicom, for one, says ``could not convert string to float: 'Doe^Jane'``.
"""

import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any

import structlog

from node.errors import LumbarError

log = structlog.get_logger()


def where(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its kind and place (a processor of structlog)."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if given and not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if error:
        event["exception"] = "\n".join(_lines(error))
    return event


def _lines(error: BaseException) -> Iterator[str]:
    """Yield an exception and what it came of, each with its frames; only our own may speak."""
    if (earlier := error.__cause__ or error.__context__) is not None:
        yield from _lines(earlier)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"
    speaks = isinstance(error, LumbarError | OSError)
    yield type(error).__name__ + (f": {error}" if speaks else "")


class Forwarder(logging.Handler):
    """Hands what the web server logs to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)
