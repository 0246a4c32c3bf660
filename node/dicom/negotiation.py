"""Which SOP classes and transfer syntaxes the listener accepts (rules IN-01 and IN-02)."""

from collections.abc import Sequence
from typing import Any

from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class

#: The classes whose instances are kept.
KEPT_CLASSES: tuple[str, ...] = (
    str(MRImageStorage),
    str(EnhancedMRImageStorage),
    str(LegacyConvertedEnhancedMRImageStorage),
)

#: Their syntaxes, preferred first: what costs least to read, then lossless compression.
#: Lossy, deflated (a decompression bomb), big endian, referenced (JPIP) and video are refused.
KEPT_SYNTAXES: tuple[str, ...] = (
    str(ExplicitVRLittleEndian),
    str(ImplicitVRLittleEndian),
    str(RLELossless),
    str(JPEGLossless),
    str(JPEGLosslessSV1),
    str(JPEGLSLossless),
    str(JPEG2000Lossless),
    str(HTJ2KLossless),
    str(HTJ2KLosslessRPCL),
)


def kept_contexts() -> list[Any]:
    """Return the presentation contexts that are always accepted."""
    kept = [build_context(uid, list(KEPT_SYNTAXES)) for uid in KEPT_CLASSES]
    return [build_context(Verification), *kept]


def ignored_contexts(requested: Sequence[Any]) -> list[Any]:
    """Return contexts for the other storage classes among those that a peer requests.

    They are accepted in whatever syntax is proposed, since nobody ever reads these instances: a
    PACS that pushes a whole study marks the job as failed when a class of it is refused. They
    are built per association because pynetdicom copies every supported context for each one,
    and 170 classes with 40 syntaxes take 50 ms.
    """
    wanted = {c.abstract_syntax: set[str]() for c in requested}
    for context in requested:
        wanted[context.abstract_syntax].update(context.transfer_syntax)
    return [
        build_context(uid, sorted(syntaxes))
        for uid, syntaxes in wanted.items()
        if uid not in KEPT_CLASSES and uid_to_service_class(uid) is StorageServiceClass
    ]
