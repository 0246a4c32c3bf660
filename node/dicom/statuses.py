"""Statuses: what this node answers, and what a destination's answer means.

Sources: PS3.4 Table B.2-1 (storage), PS3.7 Annex C (general).
"""

from node.dicom.reading.limits import ClassMismatch, SyntaxNotSupported
from node.errors import InvalidInstance, RetryLater

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.15: our own mistake, the log has the details
NO_SUCH_INSTANCE = 0x0112  # PS3.7 C.5.8
INVALID_ARGUMENT = 0x0115  # PS3.7 C.5.10
CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6: not the class that was negotiated
NO_SUCH_ACTION = 0x0123  # PS3.7 C.5.9
UNRECOGNISED_OPERATION = 0x0211  # PS3.7 C.5: no service of this node
OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3: the sender may try again later
CLASS_MISMATCH = 0xA900  # PS3.4 B.2.3: the data set is of another class than announced
CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3: broken, hostile or not what the standard allows
SYNTAX_NOT_SUPPORTED = 0xC122  # PS3.18 I.2.2: over HTTP only, an association negotiates it

_GENERAL = {
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0115: "invalid argument value",
    0x0117: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "class and instance conflict",
    0x0120: "missing attribute",
    0x0122: "SOP class not supported",
    0x0123: "no such action",
    0x0124: "not authorised",
    0x0131: "duplicate transaction UID",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
}

_RANGES = (
    (0xA700, 0xA7FF, "out of resources"),
    (0xA900, 0xA9FF, "data set does not match SOP class"),
    (0xB000, 0xBFFF, "stored with a warning"),
    (0xC000, 0xCFFF, "cannot understand"),
)


def of_refusal(error: RetryLater | OSError | InvalidInstance) -> tuple[int, str]:
    """Return what the sender of an instance that is not taken is told, and why in words."""
    if isinstance(error, OSError):
        return OUT_OF_RESOURCES, f"the archive's disk does not work: {error.strerror}"
    kinds = {
        RetryLater: OUT_OF_RESOURCES,
        ClassMismatch: CLASS_MISMATCH,
        SyntaxNotSupported: SYNTAX_NOT_SUPPORTED,
        InvalidInstance: CANNOT_UNDERSTAND,
    }
    return next(status for kind, status in kinds.items() if isinstance(error, kind)), str(error)


def is_stored(status: int) -> bool:
    """Tell whether the receiver kept the object: success, or a warning (PS3.7 C.1.2, C.1.3)."""
    return status in {SUCCESS, 0x0001, 0x0107, 0x0116} or 0xB000 <= status <= 0xBFFF


def is_temporary(status: int) -> bool:
    """Tell whether the same object may be taken later: out of resources."""
    return 0xA700 <= status <= 0xA7FF or status == 0x0213


def in_words(status: int) -> str:
    """Return a status as an administrator looks for it: its number and its meaning."""
    return f"status 0x{status:04X}, {meaning(status)}"


def meaning(status: int) -> str:
    """Return a status in words."""
    if status == SUCCESS:
        return "success"
    for first, last, words in _RANGES:
        if first <= status <= last:
            return words
    return _GENERAL.get(status, "a status of its own")
