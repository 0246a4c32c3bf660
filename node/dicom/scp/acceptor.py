"""An acceptor: takes connections from a listening socket and serves each on a thread.

Several of them, each a process, share one listening socket, which the listener's process opened
before it started them: the kernel gives a connection to whichever is free, one that dies takes no
waiting connection with it, and a port that is in use is an error. (With SO_REUSEPORT, each has a
queue of its own: connections are dealt by a hash of their addresses, and a queue dies with its
owner.) The listener ends them all by shutting that socket down.
"""

import errno
import itertools
import os
import signal
import socket
import ssl
import sys
import threading
import time
from multiprocessing.connection import Connection

from node.config import Listen, Tls
from node.dicom.intake import Custody
from node.dicom.scp.association import Association
from node.dicom.scp.line import Line, Page, RemoteLine
from node.dicom.upper_layer import pdu, tls
from node.dicom.upper_layer.wire import Wire

STOP_WAIT_S = 5.0
#: Errors of accept() that say nothing about the listening socket: given up while it waited, and
#: no file descriptor or memory left.
_PASSING = {errno.ECONNABORTED, errno.EPROTO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_HANDSHAKE_S = 10.0  # for all of TLS's
_WITHOUT_REQUEST = 64  # connections beyond max_associations that may be open, not yet refused


class Acceptor:
    """Serves connections in this process.

    Parameters
    ----------
    listening : socket
        Bound and listening; shutting it down ends `run`.
    settings : config.Listen
    custody : Custody
        Where instances go.
    line : Line
        To the books.
    secured : ssl.SSLContext, optional
        What every connection has to speak; none: no TLS.
    """

    def __init__(
        self,
        listening: socket.socket,
        settings: Listen,
        custody: Custody,
        line: Line,
        secured: ssl.SSLContext | None = None,
    ) -> None:
        self._listening = listening
        self._settings = settings
        self._custody = custody
        self._line = line
        self._secured = secured
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._wires: dict[Wire, threading.Thread] = {}

    def run(self) -> None:
        """Serve until the listening socket is shut down, then end what is still open."""
        while True:
            try:
                connection, address = self._listening.accept()
            except OSError as error:
                if error.errno not in _PASSING:
                    break
                time.sleep(0.05)
                continue
            self._serve(connection, str(address[0]))
        self._end()

    def _serve(self, connection: socket.socket, address: str) -> None:
        limit = self._settings.max_associations + _WITHOUT_REQUEST
        with self._lock:
            if len(self._wires) >= limit:
                connection.close()
                return
            try:
                wire = Wire(connection, self._settings.network_timeout_s)
                thread = threading.Thread(target=self._associate, args=(wire, address), daemon=True)
                thread.start()
            except (OSError, RuntimeError):
                connection.close()  # it is gone already, or there is no room for a thread
                return
            self._wires[wire] = thread

    def _associate(self, wire: Wire, address: str) -> None:
        page = Page(self._line, next(self._numbers))
        try:
            if self._secure(wire, address, page):
                Association(wire, address, self._settings, self._custody, page).run()
        finally:
            with self._lock:
                del self._wires[wire]

    def _secure(self, wire: Wire, address: str, page: Page) -> bool:
        """Agree on TLS where it is wanted; say whether the connection may go on."""
        if self._secured is None:
            return True
        try:
            wire.secure(self._secured, min(_HANDSHAKE_S, self._settings.network_timeout_s))
        except OSError as error:
            if not isinstance(error, ssl.SSLEOFError):  # that is a mere probe of the port
                page.turned_away(address, tls.in_words(error))
            wire.close()
            return False
        return True

    def _end(self) -> None:
        """Give open associations a few seconds to finish, then abort them."""
        deadline = time.monotonic() + STOP_WAIT_S
        while self._wires and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            rest = dict(self._wires)
        for wire in rest:
            wire.close(pdu.abort(pdu.UNSPECIFIED))
        for thread in rest.values():
            thread.join(STOP_WAIT_S)


def main(listening: int, line: int) -> None:
    """Run as a process of its own, on two inherited file descriptors."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the listener's process says when to end
    connection = Connection(line)
    settings, custody, files = connection.recv()
    books = RemoteLine(connection, hung_up=lambda: os._exit(1))
    secured = context_of(files)
    Acceptor(socket.socket(fileno=listening), settings, custody, books, secured).run()


def context_of(settings: Tls) -> ssl.SSLContext | None:
    """Return what the listener's connections have to speak, if they have to."""
    return tls.server_context(settings) if settings.listen else None


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
