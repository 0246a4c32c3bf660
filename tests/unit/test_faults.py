"""A fault in the log says where it happened and never what a library quoted."""

import logging

from structlog.testing import capture_logs

from node.commands.faults import Forwarder, where
from node.errors import InvalidInstance


def quote_a_patient() -> None:
    """Fail as a library does that was given a header."""
    try:
        float("Doe^Jane")
    except ValueError as error:
        raise KeyError("PID-77") from error


def test_places_and_kinds_are_told_words_are_not() -> None:
    """Both exceptions of a chain, with the function they came from."""
    try:
        quote_a_patient()
    except KeyError:
        told = where(None, "error", {"event": "study failed", "exc_info": True})
    assert told["event"] == "study failed"
    assert set(told) == {"event", "exception"}
    for word in ("ValueError", "KeyError", "quote_a_patient", "test_faults.py"):
        assert word in told["exception"]
    assert "Doe" not in str(told)
    assert "PID" not in str(told)


def test_our_own_errors_may_speak() -> None:
    """They are written to be read; an event without a fault stays as it is."""
    told = where(None, "error", {"exc_info": InvalidInstance("Rows is 0")})
    assert told["exception"] == "InvalidInstance: Rows is 0"
    assert where(None, "info", {"event": "well", "exc_info": None}) == {"event": "well"}


def test_the_web_server_s_faults_go_the_same_way() -> None:
    """A request that fails by a fault of ours comes to our log, and through the same hands."""
    server = logging.getLogger("tests.server")
    server.addHandler(Forwarder())
    server.propagate = False
    with capture_logs() as logs:
        try:
            quote_a_patient()
        except KeyError:
            server.exception("Exception in ASGI application")
    (told,) = logs
    assert told["event"] == "Exception in ASGI application"
    assert "Doe" not in str(where(None, "error", told))
