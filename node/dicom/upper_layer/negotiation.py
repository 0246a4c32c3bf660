"""Which SOP classes and transfer syntaxes the listener accepts (rules IN-01 and IN-02)."""

from functools import lru_cache

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
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification, uid_to_service_class

from node.dicom.upper_layer.pdu import ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX, Proposal

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


VERIFICATION = str(Verification)

#: Storage commitment, push model (PS3.4 annex J).
PUSH_MODEL = str(StorageCommitmentPushModel)

#: The classes that are no storage; their messages carry no pixels.
OTHER_CLASSES: dict[str, tuple[str, ...]] = {
    VERIFICATION: (str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)),
    PUSH_MODEL: (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)),
}


def answer(proposal: Proposal, *, accept_and_ignore: bool) -> tuple[int, str]:
    """Return the result of a proposed presentation context, and its transfer syntax.

    With ``accept_and_ignore`` the other storage classes are accepted in whatever syntax comes
    first, since nobody ever reads these instances: a PACS that pushes a whole study marks the
    job as failed when a class of it is refused.
    """
    proposed = proposal.transfer_syntaxes
    ours = KEPT_SYNTAXES if proposal.abstract_syntax in KEPT_CLASSES else ()
    ours = ours or OTHER_CLASSES.get(proposal.abstract_syntax, ())
    if not ours and accept_and_ignore and is_storage(proposal.abstract_syntax):
        return ACCEPTED, proposed[0]
    for syntax in ours:
        if syntax in proposed:
            return ACCEPTED, syntax
    return NO_TRANSFER_SYNTAX if ours else NO_ABSTRACT_SYNTAX, proposed[0]


@lru_cache(maxsize=1024)
def is_storage(sop_class: str) -> bool:
    """Tell whether a SOP class is one of the Storage Service."""
    return uid_to_service_class(sop_class) is StorageServiceClass
