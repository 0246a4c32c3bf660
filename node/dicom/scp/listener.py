"""The DICOM listener: each instance durable before it is acknowledged, and who asks is told so.

It opens the port, starts the acceptors (`acceptor`), starts one again that has died,
and keeps the books of all of them (`node.dicom.scp.books`).
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pipe

import structlog

from node.config import Listen, Source, Tls
from node.dicom.audit import Note
from node.dicom.commitment import Commitments
from node.dicom.intake import Archive, Custody, Index, Quarantine, Register
from node.dicom.pledge import Keep
from node.dicom.scp.acceptor import STOP_WAIT_S, Acceptor, context_of
from node.dicom.scp.admission import Gate
from node.dicom.scp.books import Books
from node.dicom.scp.line import LocalLine, attend
from node.errors import Misconfigured

log = structlog.get_logger()

_WAITING_CONNECTIONS = 128
_MOST_ACCEPTORS = 4  # without being told; each takes about 60 MB
_RESTART_S = 1.0


class Listener:
    """A C-STORE and C-ECHO service class provider.

    Parameters
    ----------
    settings : config.Listen
    archive, index
        Where instances go, an `intake.Archive` and an `intake.Index`.
    sources : sequence of config.Source
        Where its senders may come from.
    quarantine : intake.Quarantine, optional
        Where refused instances go.
    tls : config.Tls, optional
        Whether peers have to speak TLS, and its files.
    note : callable, optional
        Records events in the audit trail; see `Books`.
    commitments : commitment.Commitments, optional
        Who answers storage commitment; see `Books`.
    keep : callable, optional
        What keeps reports of storage commitment; see `Books`.
    """

    def __init__(
        self,
        settings: Listen,
        archive: Archive,
        index: Index,
        sources: Sequence[Source] = (),
        quarantine: Quarantine | None = None,
        *,
        tls: Tls | None = None,
        note: Note = lambda *_: None,
        commitments: Commitments | None = None,
        keep: Keep = lambda _: False,
    ) -> None:
        self._settings = settings
        self._tls = tls or Tls()
        self._custody = Custody(archive, settings.max_object_mb, quarantine)
        register = Register(archive, index, quarantine)
        gate = Gate(settings, sources)
        self._books = Books(settings.max_associations, gate, register, note, commitments, keep=keep)
        self._socket: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """What happened to instances since the start.

        Keys: new, duplicate, conflict, ignored, refused, no_space, no_store, failed.
        """
        return self._books.counts

    @property
    def address(self) -> tuple[str, int]:
        """The address and port it listens on."""
        return self._settings.bind, self._settings.port

    @property
    def acceptors(self) -> tuple[int, ...]:
        """The process ids of the acceptors; none when they run in this process."""
        return tuple(process.pid for process in list(self._processes.values()))

    def open_associations(self, study_uid: str) -> int:
        """Return how many associations are open, or not yet indexed, that sent a study."""
        return self._books.open_associations(study_uid)

    def receiving(self) -> frozenset[str]:
        """Return the studies that open, or not yet indexed, associations have sent."""
        return self._books.receiving()

    def start(self) -> None:
        """Begin to listen; returns at once.

        Raises
        ------
        Misconfigured
            When the address, or a file for TLS, cannot be used.
        """
        context_of(self._tls)  # a mistake in its files is told here, not by each acceptor
        try:
            family = socket.AF_INET6 if ":" in self._settings.bind else socket.AF_INET
            self._socket = socket.create_server(
                self.address, family=family, backlog=_WAITING_CONNECTIONS
            )
        except OSError as error:
            raise Misconfigured(
                f"cannot listen on {self._settings.bind}:{self._settings.port} "
                f"(listen.bind, listen.port): {error.strerror}"
            ) from error
        self._books.start()
        count = self._processes_wanted()
        works: list[Callable[[], None]] = [partial(self._accept_here, self._socket)]
        if count:
            works = [partial(self._keep_acceptor, number) for number in range(1, count + 1)]
        self._threads = [threading.Thread(target=w, name="acceptor", daemon=True) for w in works]
        for thread in self._threads:
            thread.start()
        log.info(
            "listening",
            bind=self.address[0],
            port=self.address[1],
            processes=count,
            tls=self._tls.listen,
        )

    def stop(self) -> None:
        """Stop listening; open associations get a few seconds to finish, then are aborted."""
        if self._socket is None:
            return
        listening, self._socket = self._socket, None
        # Ends accept() in every process that shares the socket, and refuses who comes now.
        listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(3 * STOP_WAIT_S)
        for process in list(self._processes.values()):
            process.kill()
        listening.close()
        self._books.stop()
        log.info("stopped listening", **self.counts)

    def _processes_wanted(self) -> int:
        wanted = self._settings.processes
        return min(_MOST_ACCEPTORS, os.cpu_count() or 1) if wanted == "auto" else wanted

    def _accept_here(self, listening: socket.socket) -> None:
        """Run an acceptor in this process."""
        line, secured = LocalLine(self._books), context_of(self._tls)
        Acceptor(listening, self._settings, self._custody, line, secured).run()

    def _keep_acceptor(self, number: int) -> None:
        """Run an acceptor as a process, and another one when it has died."""
        while (listening := self._socket) is not None:
            started = time.monotonic()
            try:
                status = self._run_acceptor(number, listening)
            except Exception:
                log.exception("an acceptor cannot be run; it is tried again")
                status = None
            finally:
                self._books.lost(number)
            if self._socket is not None:
                log.error("an acceptor has ended and is started again", status=status)
                time.sleep(max(0.0, _RESTART_S - (time.monotonic() - started)))

    def _run_acceptor(self, number: int, listening: socket.socket) -> int:
        """Run an acceptor as a process to its end and return its exit status."""
        ours, theirs = Pipe()
        with ours, theirs:
            inherited = (listening.fileno(), theirs.fileno())
            process = subprocess.Popen(  # noqa: S603 - our own code
                [sys.executable, "-m", "node.dicom.scp.acceptor", *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            self._processes[number] = process
            try:
                theirs.close()
                ours.send((self._settings, self._custody, self._tls))
                attend(ours, self._books, number)
            except BaseException:
                process.kill()
                raise
            finally:
                del self._processes[number]
            return process.wait()
