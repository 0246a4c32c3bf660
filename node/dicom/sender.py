"""Send DICOM objects to a destination by C-STORE, and say for each what became of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.sop_class import Verification

from node.config import Destination, Tls
from node.dicom import statuses
from node.dicom.sent import Ladder, SendReport, Sent
from node.dicom.upper_layer.tls import client_context
from node.dicom.upper_layer.transport import as_requestor
from node.dicom.upper_layer.wire import MAX_PDU
from node.errors import DeliveryRefused, DestinationUnavailable, InvalidInstance

log = structlog.get_logger()

_MAX_CONTEXTS = 128  # of one association: odd identifiers from 1 to 255, PS3.8 9.3.2.2
_META_TAGS = ["SOPClassUID", "SOPInstanceUID"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Object:
    """One object with what has to be known to negotiate for it."""

    source: Path | Dataset
    sop_class_uid: str
    sop_instance_uid: str
    syntax: str


def send(
    files: Sequence[Path | Dataset],
    destination: Destination,
    calling_ae: str,
    progress: Progress | None = None,
    *,
    ladder: Ladder | None = None,
    tls: Tls | None = None,
) -> SendReport:
    """Store objects at a destination, in the order given.

    A file is sent with the bytes it has when the destination takes its transfer syntax;
    otherwise an uncompressed one is converted to the other uncompressed syntax.

    Parameters
    ----------
    files : sequence of Path or Dataset
    destination : config.Destination
    calling_ae : str
        This node's AE title.
    progress : callable (done, total), optional
        Called after every object.
    ladder : Ladder, optional
        What the destination accepts then decides what it gets, in one association: an object
        on the ladder goes as the first class that is accepted, and what is not accepted at all
        is left out and no refusal.
    tls : config.Tls, optional
        The files for a destination that wants TLS.

    Raises
    ------
    InvalidInstance
        When a file cannot be read; nothing is sent.
    DestinationUnavailable
        When the destination does not answer, breaks off, or is out of resources: sending the
        same objects again later is right.
    DeliveryRefused
        When it refused objects for good; the others were sent.
    """
    objects = [_describe(source) for source in files]
    report = SendReport(destination.name)
    for batch in _batches(objects, ladder):
        contexts = [build_context(uid, syntax) for uid, syntax in _proposals(batch, ladder)]
        with associated(destination, calling_ae, contexts, tls) as association:
            for one in batch:
                report.sent.append(_store(association, one, destination, ladder))
                if progress is not None:
                    progress(len(report.sent), len(objects))
    refused = [s for s in report.sent if not s.is_stored and not (ladder and s.is_unknown)]
    if refused:
        lines = "; ".join(f"{one.sop_instance_uid}: {one.meaning}" for one in refused[:5])
        raise DeliveryRefused(
            f"{destination.name} refused {len(refused)} of {len(objects)} objects ({lines}): "
            "ask its administrator to accept them, then requeue the study"
        )
    return report


def echo(destination: Destination, calling_ae: str, tls: Tls | None = None) -> None:
    """Ask a destination whether it is there (C-ECHO), over TLS when it is to be.

    Raises
    ------
    DestinationUnavailable
        When it does not say yes.
    """
    contexts = [build_context(Verification)]
    with associated(destination, calling_ae, contexts, tls) as association:
        if not association.accepted_contexts:
            raise DestinationUnavailable(f"{destination.name} does not support C-ECHO")
        answer = association.send_c_echo()
        if "Status" not in answer or answer.Status != statuses.SUCCESS:
            raise DestinationUnavailable(f"{_where(destination)} did not answer the C-ECHO")


def _describe(source: Path | Dataset) -> _Object:
    try:
        header = source
        if isinstance(header, Path):
            header = dcmread(header, stop_before_pixels=True, specific_tags=_META_TAGS)
        return _Object(
            source,
            str(header.SOPClassUID),
            str(header.SOPInstanceUID),
            str(header.file_meta.TransferSyntaxUID),
        )
    except (InvalidDicomError, OSError, AttributeError) as error:
        name = source if isinstance(source, Path) else "an object"
        raise InvalidInstance(f"{name} cannot be sent: {error}") from error


def _proposals(objects: Sequence[_Object], ladder: Ladder | None) -> list[tuple[str, str]]:
    """Return (SOP class, transfer syntax) for each context that these objects need.

    One syntax to a context, so that the destination accepts or refuses each for itself. What is
    uncompressed is proposed in both uncompressed syntaxes, its own first.
    """
    found: dict[tuple[str, str], None] = {}
    plain = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
    for one in objects:
        found[one.sop_class_uid, one.syntax] = None
    for one in objects:
        if one.syntax in plain:
            lower = ladder.below(one.sop_class_uid) if ladder else ()
            found.update(
                {(uid, syntax): None for uid in (one.sop_class_uid, *lower) for syntax in plain}
            )
    return list(found)


def _batches(objects: Sequence[_Object], ladder: Ladder | None) -> Iterator[list[_Object]]:
    """Cut a list, in order, so that each part needs no more contexts than one association has."""
    batch: list[_Object] = []
    for one in objects:
        if batch and len(_proposals([*batch, one], ladder)) > _MAX_CONTEXTS:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


@contextmanager
def associated(
    destination: Destination,
    calling_ae: str,
    contexts: list[Any],
    tls: Tls | None = None,
    roles: Sequence[Any] = (),
    *,
    handlers: Sequence[Any] = (),
) -> Iterator[Any]:
    """Open an association, and end it whatever happens."""
    secured = client_context(tls or Tls()) if destination.tls else None
    _config.STORE_SEND_CHUNKED_DATASET = True  # a path is sent as it is, never held whole
    ae = AE(ae_title=calling_ae)
    ae.maximum_pdu_size = MAX_PDU
    ae.connection_timeout = ae.acse_timeout = destination.timeout_s
    ae.dimse_timeout = ae.network_timeout = destination.timeout_s
    association = ae.associate(
        destination.host,
        destination.port,
        contexts=contexts,
        ae_title=destination.ae_title,
        max_pdu=MAX_PDU,
        ext_neg=list(roles),
        evt_handlers=[(evt.EVT_CONN_OPEN, as_requestor), *handlers],
        tls_args=(secured, destination.tls_name or destination.host) if secured else None,
    )
    if secured is not None and secured.failure:
        raise DestinationUnavailable(f"{_where(destination)}, over TLS: {secured.failure}")
    # A destination that accepts none of the contexts answers, and the association ends at once.
    if not association.is_established and not association.rejected_contexts:
        raise DestinationUnavailable(_why_not(association, destination))
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


def _store(association: Any, one: _Object, destination: Destination, ladder: Ladder | None) -> Sent:
    """Store one object, as the first class of its ladder that the destination takes."""
    accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
    classes = [one.sop_class_uid, *(ladder.below(one.sop_class_uid) if ladder else ())]
    sent = Sent(one.sop_instance_uid, None, one.sop_class_uid, one.sop_class_uid)
    for sop_class in classes:
        if sop_class not in accepted:
            continue
        source = one.source
        if ladder is not None and sop_class != one.sop_class_uid:
            source = ladder.lower(_in_memory(source), sop_class)
        elif not _takes(association, one):
            source = _in_memory(source)  # to be converted
        sent = replace(sent, status=_answer(association, source, destination), sent_as=sop_class)
        if sent.status != statuses.CLASS_NOT_SUPPORTED:
            break
    if sent.status not in (None, statuses.SUCCESS):
        log.warning(
            "the destination did not simply accept an object",
            destination=destination.name,
            sop_instance_uid=sent.sop_instance_uid,
            answer=sent.meaning,
        )
    return sent


def _answer(association: Any, source: Path | Dataset, destination: Destination) -> int | None:
    """Send one data set and return the status; None when no accepted context fits it."""
    try:
        answer = association.send_c_store(source)
    except ValueError:
        return None
    except RuntimeError as error:
        raise DestinationUnavailable(f"{_where(destination)} closed the association") from error
    if "Status" not in answer:
        raise DestinationUnavailable(
            f"{_where(destination)} broke off, or did not answer within "
            f"{destination.timeout_s:g} s, while an object was sent: it will be tried again"
        )
    status = int(answer.Status)
    if statuses.is_temporary(status):
        raise DestinationUnavailable(
            f"{_where(destination)} cannot take objects now ({statuses.in_words(status)}): "
            "it will be tried again"
        )
    return status


def _in_memory(source: Path | Dataset) -> Dataset:
    return dcmread(source) if isinstance(source, Path) else source


def _takes(association: Any, one: _Object) -> bool:
    """Tell whether the destination accepted an object's class in the syntax it has."""
    return any(
        context.abstract_syntax == one.sop_class_uid and context.transfer_syntax[0] == one.syntax
        for context in association.accepted_contexts
    )


def _why_not(association: Any, destination: Destination) -> str:
    where = _where(destination)
    if association.is_rejected:
        answer = association.acceptor.primitive
        return f"{where} rejected the association: {answer.reason_str.lower()}"
    if association.is_aborted and association.acceptor.primitive is not None:
        return f"{where} broke off the association"
    return f"{where} cannot be reached: is it running, and are host and port right?"


def _where(destination: Destination) -> str:
    title, host, port = destination.ae_title, destination.host, destination.port
    return f"{destination.name} ({title} at {host}:{port})"
