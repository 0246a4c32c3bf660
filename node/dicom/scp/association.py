"""One association, from its request to its end, on a thread of its own.

pynetdicom's acceptor is not used: its two threads for each association poll every millisecond
and its state machine handles each PDU and message as objects, 3 ms for each image where DCMTK
takes 0.5 (docs/performance.md). Here one thread blocks on the socket, and fragments go from there
to the archive.
Upper layer: PS3.8 sections 7 and 9; messages: PS3.7 sections 6.3, 7.5 and 9.3.
"""

import struct
import traceback
from collections.abc import Callable

from node.config import Listen
from node.dicom import statuses
from node.dicom.intake import IMPLEMENTATION_UID, Custody
from node.dicom.scp.books import Peer
from node.dicom.scp.committing import QUIET_S, Committing
from node.dicom.scp.line import Page
from node.dicom.scp.reception import CHUNK, Reception, Refused
from node.dicom.upper_layer import command, negotiation, pdu
from node.dicom.upper_layer.command import Command
from node.dicom.upper_layer.pdu import ProtocolError
from node.dicom.upper_layer.wire import MAX_PDU, Silence, Wire

_MAX_COMMAND = 16 << 10  # bytes of a command set
_MAX_DATA = 4 << 20  # bytes of a data set that is no C-STORE's
_NEGOTIATION_S = 30.0  # for the whole request, or network_timeout_s where that is shorter
_IS_COMMAND, _IS_LAST = 1, 2  # bits of a fragment's control header (PS3.8 annex E.2)

_fragment_header = struct.Struct(">IBB")


class _Discard:
    """A data set that nobody keeps."""

    def take(self, wire: Wire, size: int) -> None:
        while size:
            size -= len(wire.take(min(size, 1 << 16)))


class _Collect:
    """A small data set, kept in memory."""

    def __init__(self) -> None:
        self.raw = bytearray()

    def take(self, wire: Wire, size: int) -> None:
        if len(self.raw) + size > _MAX_DATA:
            raise ProtocolError("a message that is no C-STORE carries too much data")
        self.raw += wire.take(size)


class Association:
    """Serves one connection until it ends.

    Parameters
    ----------
    wire : Wire
    peer_address : str
        IP address of the other end.
    settings : config.Listen
    custody : Custody
        Where instances go.
    page : Page
        Where it is written down what becomes of it.
    """

    def __init__(
        self, wire: Wire, peer_address: str, settings: Listen, custody: Custody, page: Page
    ) -> None:
        self._wire = wire
        self._settings = settings
        self._custody = custody
        self._page = page
        self._peer = Peer(peer_address)
        self._contexts: dict[int, tuple[str, str]] = {}  # id -> SOP class, transfer syntax
        self._chunk = bytearray()
        self._partial = bytearray()  # of a command set
        self._most = 0  # bytes of a PDU that the peer takes; 0: any
        self._committing = Committing(page)
        self._context = 0  # of the message that arrives
        self._command: Command | None = None  # its data set is awaited
        self._sink: Reception | _Collect | _Discard = _Discard()

    def run(self) -> None:
        """Serve the peer; return when the connection is closed."""
        farewell = b""
        try:
            if self._negotiate():
                farewell = self._serve()
        except ProtocolError as error:
            self._page.broken(str(error))
            farewell = pdu.abort(error.reason)
        except Silence as error:
            self._page.broken(str(error))
            farewell = pdu.abort(pdu.UNSPECIFIED)
        except (EOFError, OSError):
            if self._contexts:
                self._page.broken("the connection ended without a release")
        finally:
            if isinstance(self._sink, Reception):
                self._sink.drop()
            self._page.closed()
            self._wire.close(farewell)

    def _negotiate(self) -> bool:
        """Answer the A-ASSOCIATE-RQ; return whether the association is open now."""
        settings, wire = self._settings, self._wire
        wire.limit(min(_NEGOTIATION_S, settings.network_timeout_s), in_all=True)
        kind, length = wire.pdu()
        if kind != pdu.ASSOCIATE_RQ:
            raise ProtocolError("the first PDU asks for no association", pdu.UNEXPECTED_PDU)
        request = pdu.parse_request(wire.take(length))
        self._peer = Peer(self._peer.address, request.calling_ae, request.called_ae)
        refusal = self._refusal(request) or self._page.opened(self._peer)
        if refusal is not None:
            wire.send(pdu.rejection(*refusal[:3]))
            return False
        ignore = settings.accept_and_ignore
        answers = {
            p.context_id: negotiation.answer(p, accept_and_ignore=ignore) for p in request.proposals
        }
        self._contexts = {
            p.context_id: (p.abstract_syntax, answers[p.context_id][1])
            for p in request.proposals
            if answers[p.context_id][0] == pdu.ACCEPTED
        }
        self._most = request.max_pdu
        wire.limit(settings.network_timeout_s)
        wire.send(
            pdu.acceptance(request, answers, IMPLEMENTATION_UID, MAX_PDU, (negotiation.PUSH_MODEL,))
        )
        return True

    @staticmethod
    def _refusal(request: pdu.Request) -> tuple[int, int, int] | None:
        if not request.protocol_version & 1:
            return pdu.NO_PROTOCOL
        return None if request.application == pdu.APPLICATION else pdu.NO_APPLICATION

    def _serve(self) -> bytes:
        """Take PDUs until the peer ends the association; return the last PDU to send."""
        while True:
            self._report()
            kind, length = self._wire.pdu()
            if kind == pdu.DATA:
                self._data(length)
            elif kind == pdu.RELEASE_RQ:
                self._wire.take(length)
                self._page.closed()
                return pdu.release()
            elif kind == pdu.ABORT:
                self._page.broken("the peer aborted the association")
                return b""
            else:
                raise ProtocolError(f"a PDU of type {kind} came unexpected", pdu.UNEXPECTED_PDU)

    def _data(self, length: int) -> None:
        """Take the fragments of one P-DATA-TF."""
        while length:
            if length < 6:
                raise ProtocolError("a P-DATA-TF is cut off")
            size, context, control = _fragment_header.unpack(self._wire.take(6))
            length -= 4 + size
            if size < 2 or length < 0:
                raise ProtocolError("a fragment does not fit into its P-DATA-TF")
            if context not in self._contexts:
                raise ProtocolError("the presentation context was not accepted")
            if control & _IS_COMMAND:
                self._command_fragment(context, size - 2, is_last=bool(control & _IS_LAST))
            else:
                self._data_fragment(context, size - 2, is_last=bool(control & _IS_LAST))

    def _command_fragment(self, context: int, size: int, *, is_last: bool) -> None:
        if self._command is not None:
            raise ProtocolError("a command came where a data set was announced")
        if self._partial and context != self._context:
            raise ProtocolError("a command set changes its presentation context")
        if len(self._partial) + size > _MAX_COMMAND:
            raise ProtocolError("a command set of more than 16 KiB")
        self._context = context
        self._partial += self._wire.take(size)
        if is_last:
            request = Command(bytes(self._partial))
            self._partial.clear()
            self._sink = self._sink_of(request)
            if request.has_data_set:
                self._command = request
            else:
                self._answer(request)

    def _data_fragment(self, context: int, size: int, *, is_last: bool) -> None:
        if self._command is None or context != self._context:
            raise ProtocolError("a data set came without its command")
        self._sink.take(self._wire, size)
        if is_last:
            request, self._command = self._command, None
            self._answer(request)

    def _sink_of(self, request: Command) -> Reception | _Collect | _Discard:
        """Choose where the message's data set goes."""
        if request.field != command.C_STORE:
            return _Collect()
        sop_class, syntax = self._contexts[self._context]
        if (
            sop_class not in negotiation.KEPT_CLASSES
            or request.text(command.SOP_CLASS) != sop_class
        ):
            return _Discard()
        self._chunk = self._chunk or bytearray(CHUNK)
        instance = request.text(command.SOP_INSTANCE)
        return Reception(self._custody, self._chunk, sop_class, instance, syntax)

    def _answer(self, request: Command) -> None:
        """Answer a message that has come whole."""
        if request.field == command.C_STORE:
            status = self._store(request)
        elif request.field == command.C_ECHO:
            status = statuses.SUCCESS
        elif request.field == command.N_ACTION:
            status = self._commit(request, self._committing.ask)
        elif request.field == command.N_EVENT_REPORT:
            status = self._commit(request, self._committing.reported)
        elif request.field == command.N_EVENT_REPORT | command.RESPONSE:
            self._committing.confirmed(request)
            return
        elif request.field == command.C_CANCEL or request.field & command.RESPONSE:
            return  # there is nothing to cancel, and nothing was asked
        else:
            status = statuses.UNRECOGNISED_OPERATION
        fragment = command.answer(request, status)
        self._wire.send(pdu.data(self._context, _IS_COMMAND | _IS_LAST, fragment))

    def _commit(self, request: Command, take: Callable[[Command, bytes, int, str], int]) -> int:
        """Take on a request for storage commitment, or a report of it; return the status."""
        sink, self._sink = self._sink, _Discard()
        sop_class, syntax = self._contexts[self._context]
        if sop_class != negotiation.PUSH_MODEL or not isinstance(sink, _Collect):
            return statuses.UNRECOGNISED_OPERATION
        return take(request, bytes(sink.raw), self._context, syntax)

    def _report(self) -> None:
        """Send a report between two messages of a peer that seems to wait for it."""
        between = self._command is None and not self._partial
        if between and self._committing.has_report and self._wire.is_quiet(QUIET_S):
            report = self._committing.next_report()
            if report is not None:
                self._send(*report)

    def _send(self, context: int, message: bytes, data_set: bytes) -> None:
        """Send a message of ours with its data set, in fragments that the peer can take."""
        self._wire.send(pdu.data(context, _IS_COMMAND | _IS_LAST, message))
        most = min(self._most or MAX_PDU, MAX_PDU) - 6
        for start in range(0, len(data_set), most):
            is_last = start + most >= len(data_set)
            fragment = data_set[start : start + most]
            self._wire.send(pdu.data(context, _IS_LAST if is_last else 0, fragment))

    def _store(self, request: Command) -> int:
        """Make an instance durable, enter it in the books, and return the status."""
        sink, self._sink = self._sink, _Discard()
        announced = request.text(command.SOP_CLASS)
        if announced != self._contexts[self._context][0]:
            reason = f"SOP class {announced!a} was not negotiated for this presentation context"
            self._page.refused("refused", reason, statuses.CLASS_NOT_SUPPORTED)
            return statuses.CLASS_NOT_SUPPORTED
        if not isinstance(sink, Reception):
            self._page.ignored()
            return statuses.SUCCESS
        try:
            self._page.stored(sink.finish(self._peer.calling_ae), request.is_urgent)
        except Refused as refused:
            self._page.refused(refused.count, str(refused), refused.status)
            return refused.status
        except Exception as error:  # noqa: BLE001 - the edge: one instance fails, the service goes on
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {at.filename}:{at.lineno}"
            reason = f"an instance could not be received, a fault of this node: {where}"
            self._page.refused("failed", reason, statuses.PROCESSING_FAILURE)
            return statuses.PROCESSING_FAILURE
        finally:
            sink.drop()
        return statuses.SUCCESS
