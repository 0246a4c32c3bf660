"""Everything that can go wrong, by what happens next.

::

    LumbarError
    ├── RetryLater             wait and try the same thing again
    │   ├── DestinationUnavailable   a PACS does not answer, or says "out of resources"
    │   ├── StoreUnavailable         the object store does not answer, or refuses
    │   └── DiskFull                 below the watermark: refuse now, accept when space is back
    ├── Rejected               this input gets no result, however often it is tried
    │   ├── InvalidInstance          one file: not DICOM, truncated, hostile, undecodable
    │   ├── NotAssessable            one study: not lumbar MR, no usable series
    │   ├── MixedPatients            one study: images of several patients, so nobody gets a result
    │   └── DeliveryRefused          a PACS answered "never" for this object
    └── Misconfigured          a person has to change something before the node may run
        └── ModelMismatch            a model file is missing, altered, or not what its card says

The message of an error is read by a person: it says what happened, to which study or file,
and what to do next. It never holds a patient's name or identifier.
"""


class LumbarError(Exception):
    """Root of all errors this product raises on purpose."""


class RetryLater(LumbarError):  # noqa: N818 - the name says what happens next
    """The same work may succeed later."""


class DestinationUnavailable(RetryLater):
    """A destination did not answer or has no resources now."""


class StoreUnavailable(RetryLater):
    """The object store does not answer, or refuses."""


class DiskFull(RetryLater):
    """Free space is below the watermark."""


class Rejected(LumbarError):  # noqa: N818
    """This input gets no result, however often it is tried."""


class InvalidInstance(Rejected):
    """One file is not a DICOM object this node can safely read."""


class NotAssessable(Rejected):
    """A study holds nothing this node may assess."""


class MixedPatients(Rejected):
    """The images of one study name several patients: no result may be attached to any of them."""


class DeliveryRefused(Rejected):
    """A destination refused an object for good."""


class Misconfigured(LumbarError):  # noqa: N818
    """A person has to change the configuration or the installation."""


class ModelMismatch(Misconfigured):
    """A model file is missing, altered, or not what its card says."""
