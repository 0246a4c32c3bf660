"""The DICOM listener: C-ECHO and C-STORE, each instance durable before it is acknowledged.

Bytes go from the network straight to a file of the archive (`node.dicom.spool`); the handler
checks that file without decoding pixels, commits it, writes the index row, and answers. What it
answers and why is in the table of `node.dicom.statuses`.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog
from pynetdicom import AE, _config, evt

from node.config import Listen, Source
from node.dicom import statuses
from node.dicom.admission import Gate
from node.dicom.intake import Archive, Index, Intake, Quarantine
from node.dicom.limits import ClassMismatch
from node.dicom.negotiation import KEPT_CLASSES, ignored_contexts, kept_contexts
from node.dicom.spool import Spool, SpoolingProvider
from node.dicom.transport import MAX_PDU, bounded
from node.errors import DiskFull, InvalidInstance, Misconfigured

log = structlog.get_logger()

_STOP_WAIT_S = 5.0


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
    """

    def __init__(
        self,
        settings: Listen,
        archive: Archive,
        index: Index,
        sources: Sequence[Source] = (),
        quarantine: Quarantine | None = None,
    ) -> None:
        self._settings = settings
        self._gate = Gate(settings, sources)
        self._intake = Intake(archive, index, settings.max_object_mb, quarantine)
        self._server: Any = None
        self._lock = threading.Lock()
        self._studies: dict[Any, set[str]] = {}  # association -> studies it has sent
        self._counts: Counter[str] = Counter()
        self._ae = self._application_entity()

    @property
    def counts(self) -> dict[str, int]:
        """What happened to instances since the start.

        Keys: new, duplicate, conflict, ignored, refused, no_space, failed.
        """
        with self._lock:
            return dict(self._counts)

    @property
    def address(self) -> tuple[str, int]:
        """The address and port it listens on."""
        return self._settings.bind, self._settings.port

    def start(self) -> None:
        """Begin to listen; returns at once.

        Raises
        ------
        Misconfigured
            When the address cannot be used.
        """
        # Process-wide switch of pynetdicom, off by default (SEC-02).
        _config.ENFORCE_UID_CONFORMANCE = True
        handlers = [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_CONN_CLOSE, self._on_close),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_C_STORE, self._on_store),
        ]
        try:
            self._server = self._ae.start_server(
                self.address, block=False, evt_handlers=handlers, contexts=kept_contexts()
            )
        except OSError as error:
            raise Misconfigured(
                f"cannot listen on {self._settings.bind}:{self._settings.port} "
                f"(listen.bind, listen.port): {error.strerror}"
            ) from error
        log.info("listening", bind=self._settings.bind, port=self._settings.port)

    def stop(self) -> None:
        """Stop listening; open associations get a few seconds to finish, then are aborted."""
        if self._server is None:
            return
        self._server.shutdown()
        deadline = time.monotonic() + _STOP_WAIT_S
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        for association in self._ae.active_associations:
            association.abort()
        self._server = None
        log.info("stopped listening", **self.counts)

    def open_associations(self, study_uid: str) -> int:
        """Return how many open associations have sent instances of a study."""
        with self._lock:
            open_now = [(a, studies) for a, studies in self._studies.items() if a.is_alive()]
            self._studies = dict(open_now)
            return sum(study_uid in studies for _, studies in open_now)

    def _application_entity(self) -> Any:
        settings = self._settings
        ae = AE(ae_title=settings.ae_title)
        ae.maximum_associations = settings.max_associations
        ae.maximum_pdu_size = MAX_PDU
        ae.network_timeout = settings.network_timeout_s
        ae.acse_timeout = ae.dimse_timeout = min(30.0, settings.network_timeout_s)
        return ae

    def _on_open(self, event: Any) -> None:
        """Prepare a connection before anything is read from it."""
        bounded(event)
        event.assoc.dimse = SpoolingProvider(event.assoc, self._intake)

    def _on_requested(self, event: Any) -> None:
        """Let the peer in or not; accept the classes that are only ignored, if they are to be."""
        if not self._let_in(event.assoc):
            return
        if self._settings.accept_and_ignore:
            event.assoc.acceptor.supported_contexts += ignored_contexts(
                event.assoc.requestor.requested_contexts
            )

    def _let_in(self, association: Any) -> bool:
        request, address = association.requestor.primitive, association.requestor.address
        calling, called = request.calling_ae_title, request.called_ae_title
        refusal = self._gate.enter(association, calling, called, address)
        if refusal is None:
            return True
        log.warning("association refused", why=refusal.why, calling_ae=calling, address=address)
        association.acse.send_reject(refusal.result, refusal.source, refusal.reason)
        association.kill()
        return False

    def _on_close(self, event: Any) -> None:
        self._gate.leave(event.assoc)
        event.assoc.dimse.drop()
        if event.assoc.requestor.primitive is None:
            # A mere TCP probe: pynetdicom would wait for its A-ASSOCIATE until the timeout, and
            # a few probes would take all places.
            event.assoc.dul.to_user_queue.put(None)
        with self._lock:
            self._studies.pop(event.assoc, None)

    def _on_rejected(self, event: Any) -> None:
        # The gate refuses for itself; what pynetdicom refuses is one association too many.
        why = f"{self._settings.max_associations} associations are open: listen.max_associations"
        log.warning("association refused", why=why, **_peer(event.assoc))

    def _on_store(self, event: Any) -> int:
        """Answer one C-STORE request."""
        peer = _peer(event.assoc)
        spool = event.request.DataSet
        try:
            return self._store(event, spool)
        except DiskFull as error:
            return self._refuse(statuses.OUT_OF_RESOURCES, "no_space", str(error), peer)
        except OSError as error:
            reason = f"the archive's disk does not work: {error.strerror}"
            return self._refuse(statuses.OUT_OF_RESOURCES, "no_space", reason, peer)
        except ClassMismatch as error:
            return self._refuse(statuses.CLASS_MISMATCH, "refused", str(error), peer)
        except InvalidInstance as error:
            return self._refuse(statuses.CANNOT_UNDERSTAND, "refused", str(error), peer)
        except Exception:
            # The edge of the listener: one instance fails, the service goes on.
            log.exception("an instance could not be received", **peer)
            self._count("failed")
            return statuses.PROCESSING_FAILURE
        finally:
            spool.drop()

    def _store(self, event: Any, spool: Spool) -> int:
        announced = event.request.AffectedSOPClassUID
        if announced != event.context.abstract_syntax:
            reason = f"SOP class {announced} was not negotiated for this presentation context"
            return self._refuse(statuses.CLASS_NOT_SUPPORTED, "refused", reason, _peer(event.assoc))
        if announced not in KEPT_CLASSES:
            self._count("ignored")
            return statuses.SUCCESS
        row, outcome = self._intake.finish(spool.file(), event.assoc.requestor.ae_title)
        with self._lock:
            self._counts[outcome] += 1
            self._studies.setdefault(event.assoc, set()).add(row.study_uid)
        return statuses.SUCCESS

    def _refuse(self, status: int, count: str, reason: str, peer: dict[str, Any]) -> int:
        log.warning("instance refused", reason=reason, status=f"0x{status:04X}", **peer)
        self._count(count)
        return status

    def _count(self, key: str) -> None:
        with self._lock:
            self._counts[key] += 1


def _peer(association: Any) -> dict[str, Any]:
    """Return who is at the other end, for the log."""
    requestor = association.requestor
    return {"calling_ae": requestor.ae_title, "address": requestor.address}
