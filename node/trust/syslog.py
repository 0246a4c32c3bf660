"""The audit trail to a syslog collector over TLS (RFC 5425, messages by RFC 5424; PS3.15 A.6).

The files are the truth: what is sent follows them, from the line that was sent last. A collector
that is away gets everything when it is back. One process of the node sends for all. Syslog has no
acknowledgement, so a broken connection may cost the collector the lines that were in flight.
"""

import fcntl
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from node.config import Audit, Tls
from node.dicom.upper_layer.tls import client_context, in_words

log = structlog.get_logger()

_POLL_S = 1.0
_AGAIN_S = 30.0
_TIMEOUT_S = 20.0
# Facility 10, security; severity 5, notice, or 4, warning (RFC 5424 6.2.1).
_NOTICE, _WARNING = 85, 84
_MESSAGE_ID = "DICOM+RFC3881"  # PS3.15 A.6
_ALERT = 'csd-code="110113"'
_TIME = re.compile(r'EventDateTime="([^"]+)"')


class Place(NamedTuple):
    """How far the trail has been sent: a file's name, and bytes of it."""

    name: str
    offset: int


def frame(line: str, host: str, process: int) -> bytes:
    """Return one line of the trail as a syslog message with its length (RFC 5425 4.3)."""
    priority = _WARNING if _ALERT in line else _NOTICE
    found = _TIME.search(line)
    time = found.group(1) if found else "-"
    header = f"<{priority}>1 {time} {host} lumbar-node {process} {_MESSAGE_ID} - "
    # RFC 5424 6.4: a message in UTF-8 begins with the byte order mark.
    raw = header.encode("ascii", "replace") + b"\xef\xbb\xbf" + line.encode("utf-8")
    return str(len(raw)).encode("ascii") + b" " + raw


class Forwarder:
    """Sends the trail's files, in a thread.

    Parameters
    ----------
    folder : Path
        Of the trail.
    settings : config.Audit
    tls : config.Tls
        Its certificate is shown to a collector that asks for one.
    """

    def __init__(self, folder: Path, settings: Audit, tls: Tls) -> None:
        self._folder = folder
        self._settings = settings
        known_by = {"ca_file": settings.syslog_ca_file}
        self._context = client_context(tls.model_copy(update=known_by))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send what there is, then end; a collector that is away is not waited for."""
        self._stopped.set()
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "forwarder.lock").open("wb") as lock:
            while not self._takes_turn(lock.fileno()):
                if self._stopped.wait(_POLL_S):
                    return
            self._send_until_stopped()

    def _takes_turn(self, lock: int) -> bool:
        """Become the one process that sends, if no other is."""
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _send_until_stopped(self) -> None:
        while True:
            try:
                self._send_from_one_connection()
            except OSError as error:
                reason = self._context.failure or error.strerror or in_words(error)
                log.warning("the syslog collector gets no audit messages", reason=reason)
            if self._stopped.wait(_AGAIN_S):
                return

    def _send_from_one_connection(self) -> None:
        host, port = self._settings.syslog_host, self._settings.syslog_port
        plain = socket.create_connection((host, port), timeout=_TIMEOUT_S)
        with self._context.wrap_socket(plain, server_hostname=host) as connection:
            self._context.failure = None
            while True:
                is_last = self._stopped.is_set()
                for line, after in self._lines():
                    connection.sendall(frame(line, socket.gethostname() or "-", os.getpid()))
                    self._remember(after)
                if is_last:
                    # Says goodbye and reads what came: closing with unread bytes would cost the
                    # collector what it has not read yet.
                    with suppress(OSError):
                        connection.unwrap()
                    return
                self._stopped.wait(_POLL_S)

    def _lines(self) -> Iterator[tuple[str, Place]]:
        """Yield every whole line that has not been sent, with the place behind it."""
        sent = self._remembered()
        for path in sorted(self._folder.glob("audit-????-??-??.log")):
            if path.name < sent.name:
                continue
            with path.open("rb") as file:
                file.seek(sent.offset if path.name == sent.name else 0)
                for raw in file:
                    if raw.endswith(b"\n"):
                        yield raw[:-1].decode("utf-8"), Place(path.name, file.tell())

    def _remembered(self) -> Place:
        try:
            return Place(*json.loads((self._folder / "forwarded.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return Place("", 0)

    def _remember(self, place: Place) -> None:
        part = self._folder / "forwarded.part"
        part.write_text(json.dumps(place), "utf-8")
        part.replace(self._folder / "forwarded.json")
