"""The PDUs that open and end an association, as bytes (PS3.8 section 9.3).

pynetdicom's classes for them take 8 ms to read what DCMTK's storescu proposes (128 presentation
contexts); a sender that opens an association for each image would wait for that every time.
"""

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

ASSOCIATE_RQ, DATA, RELEASE_RQ, ABORT = 0x01, 0x04, 0x05, 0x07

APPLICATION = "1.2.840.10008.3.1.1.1"  # PS3.7 annex A.2.1
VERSION_NAME = b"LUMBAR-NODE"

#: Results of a presentation context (PS3.8 table 9-18).
ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4

#: Results, sources and reasons of a rejection (PS3.8 table 9-21): what is not supported, and one
#: association too many.
NO_APPLICATION, NO_PROTOCOL, NO_ROOM = (1, 1, 2), (1, 2, 2), (2, 3, 2)

#: Sources and reasons of an abort (PS3.8 table 9-26): ours is always the service provider.
UNSPECIFIED, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 2, 6

_item = struct.Struct(">BxH")
_FIXED = 68  # protocol version, two AE titles and what is reserved


class ProtocolError(Exception):
    """A peer broke the protocol: its association is aborted with this reason."""

    def __init__(self, message: str, reason: int = INVALID_PARAMETER) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Proposal:
    """A proposed presentation context.

    Attributes
    ----------
    context_id : int
        Odd, 1 to 255.
    abstract_syntax : str
        The SOP class.
    transfer_syntaxes : tuple of str
        In the order of the peer's list.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What an A-ASSOCIATE-RQ says.

    Attributes
    ----------
    protocol_version : int
        A bit for each version; bit 0 is the only one there is.
    called_ae, calling_ae : str
    application : str
        The application context name.
    proposals : tuple of Proposal
    max_pdu : int
        The longest PDU (bytes after its header) that the peer takes; 0: any.
    titles : bytes
        Both AE titles and what is reserved after them, to be sent back as they are.
    roles : mapping of SOP class to bytes
        Role selections, SCU and SCP a byte each (PS3.7 D.3.3.4).
    """

    protocol_version: int
    called_ae: str
    calling_ae: str
    application: str
    proposals: tuple[Proposal, ...]
    max_pdu: int
    titles: bytes
    roles: Mapping[str, bytes] = field(default_factory=dict)


def parse_request(body: bytes) -> Request:
    """Read an A-ASSOCIATE-RQ (PS3.8 section 9.3.2), without its 6 byte header.

    Raises
    ------
    ProtocolError
        When it is not well-formed.
    """
    if len(body) < _FIXED:
        raise ProtocolError("the association request is cut off")
    application, max_pdu = "", 0
    roles: dict[str, bytes] = {}
    proposals: dict[int, Proposal] = {}
    for kind, value in _items(body[_FIXED:]):
        if kind == 0x10:
            application = _uid(value)
        elif kind == 0x20:
            proposal = _proposal(value)
            proposals[proposal.context_id] = proposal
        elif kind == 0x50:
            max_pdu = _max_pdu(value)
            roles = dict(_roles(value))
    return Request(
        protocol_version=int.from_bytes(body[:2], "big"),
        called_ae=_title(body[4:20]),
        calling_ae=_title(body[20:36]),
        application=application,
        proposals=tuple(proposals.values()),
        max_pdu=max_pdu,
        titles=body[4:_FIXED],
        roles=roles,
    )


def acceptance(
    request: Request,
    answers: Mapping[int, tuple[int, str]],
    implementation: str,
    max_pdu: int,
    roles: Collection[str] = (),
) -> bytes:
    """Return an A-ASSOCIATE-AC (PS3.8 section 9.3.3).

    Parameters
    ----------
    request : Request
    answers : mapping
        Of each presentation context id: its result, and the transfer syntax.
    implementation : str
        Our implementation class UID (PS3.7 annex D.3.3.2).
    max_pdu : int
        The longest PDU that this side takes.
    roles : collection of str
        The SOP classes in which the peer may have the roles that it proposes.
    """
    contexts = b"".join(
        _wrap(0x21, struct.pack(">BxBx", context_id, result) + _wrap(0x40, syntax.encode("ascii")))
        for context_id, (result, syntax) in answers.items()
    )
    user = b"".join(
        (
            _wrap(0x51, struct.pack(">I", max_pdu)),
            _wrap(0x52, implementation.encode("ascii")),
            *(_role(name, request.roles[name]) for name in roles if name in request.roles),
            _wrap(0x55, VERSION_NAME),
        )
    )
    application = _wrap(0x10, APPLICATION.encode("ascii"))
    body = b"\0\1\0\0" + request.titles + application + contexts + _wrap(0x50, user)
    return struct.pack(">BxI", 0x02, len(body)) + body


def rejection(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""
    return struct.pack(">BxIxBBB", 0x03, 4, result, source, reason)


def release() -> bytes:
    """Return an A-RELEASE-RP (PS3.8 section 9.3.7)."""
    return struct.pack(">BxIxxxx", 0x06, 4)


def abort(reason: int) -> bytes:
    """Return an A-ABORT of the service provider (PS3.8 section 9.3.8)."""
    return struct.pack(">BxIxxBB", ABORT, 4, 2, reason)


def data(context_id: int, control: int, fragment: bytes) -> bytes:
    """Return a P-DATA-TF with one fragment (PS3.8 section 9.3.5 and annex E.2).

    ``control``: bit 0 is set for a command, bit 1 for the last fragment.
    """
    size = len(fragment)
    return struct.pack(">BxIIBB", DATA, size + 6, size + 2, context_id, control) + fragment


def _items(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of the items in a block."""
    at = 0
    while at < len(block):
        if at + 4 > len(block):
            raise ProtocolError("an item of the association request is cut off")
        kind, length = _item.unpack_from(block, at)
        at += 4 + length
        if at > len(block):
            raise ProtocolError("an item of the association request is cut off")
        yield kind, block[at - length : at]


def _proposal(value: bytes) -> Proposal:
    if len(value) < 4 or value[0] % 2 == 0:
        raise ProtocolError("a presentation context is not well-formed")
    abstract, syntaxes = "", []
    for kind, name in _items(value[4:]):
        if kind == 0x30:
            abstract = _uid(name)
        elif kind == 0x40:
            syntaxes.append(_uid(name))
    if not (abstract and syntaxes):
        raise ProtocolError("a presentation context names no syntax")
    return Proposal(value[0], abstract, tuple(syntaxes))


def _max_pdu(value: bytes) -> int:
    """Return the maximum length (PS3.8 annex D.1), 0 where the peer gives none."""
    for kind, number in _items(value):
        if kind == 0x51 and len(number) == 4:
            return int.from_bytes(number, "big")
    return 0


def _roles(value: bytes) -> Iterator[tuple[str, bytes]]:
    for kind, role in _items(value):
        if kind == 0x54:
            if len(role) < 4 or len(role) != 4 + int.from_bytes(role[:2], "big"):
                raise ProtocolError("a role selection is not well-formed")
            yield _uid(role[2:-2]), role[-2:]


def _role(sop_class: str, role: bytes) -> bytes:
    return _wrap(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode("ascii") + role)


def _wrap(kind: int, value: bytes) -> bytes:
    return _item.pack(kind, len(value)) + value


def _uid(raw: bytes) -> str:
    return _ascii(raw).rstrip("\0 ")


def _title(raw: bytes) -> str:
    return _ascii(raw).strip("\0 ")


def _ascii(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise ProtocolError("a name in the association request is not ASCII") from error
