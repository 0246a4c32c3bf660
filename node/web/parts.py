"""What the web pages ask of the node; `node.app` implements it, tests with a few lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from node.dicom.intake import Intake
from node.storage.rows import DeliveryRow, StudyRow


@dataclass(frozen=True)
class Held:
    """One DICOM object that this node holds: an image it received, or a result it made.

    Attributes
    ----------
    study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid : str
    address : str
        No other contents have it.
    find : callable
        Where its file is; it may have to be fetched from an object store.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    address: str
    find: Callable[[], Path] = field(compare=False)

    @property
    def path(self) -> Path:
        """Its file on this machine's disk."""
        return self.find()


class WebParts(Protocol):
    """What the pages ask of the node. Everything is called from threads, never from the loop.

    Attributes
    ----------
    intake : Intake
        The way in for DICOM objects, the same as that of the listener.
    ignores_others : bool
        Whether objects that are not kept are taken for a success all the same.
    """

    def studies(self) -> Sequence[StudyRow]:
        """Return the newest studies, newest first."""

    def study(self, study_uid: str) -> StudyRow | None:
        """Return one study, or None when the node does not hold it."""

    def findings(self, study_uid: str) -> Mapping[str, Any] | None:
        """Return the contents of the study's ``findings.json``, or None when there are none yet."""

    def page_names(self, study_uid: str) -> Sequence[str]:
        """Return the names of the study's pages, in reading order."""

    def page(self, study_uid: str, name: str) -> bytes | None:
        """Return one page as PNG; called only with a name that `page_names` gave."""

    def deliveries(self, study_uid: str) -> Sequence[DeliveryRow]:
        """Return the study's deliveries."""

    def results_deleted(self, study_uid: str) -> datetime | None:
        """Return when the study's results were deleted here; None when they were not."""

    def orthanc_trigger(self, peer: str, orthanc_id: str) -> None:
        """Take on a stable study of an Orthanc, durably, before returning.

        Raises
        ------
        LookupError
            When no such peer is configured.
        Rejected, RetryLater
            Answered as 422 and 503, with the message.
        """

    def dicomweb_trigger(self, peer: str, study_uid: str) -> None:
        """Take on a study of a DICOMweb archive, durably, before returning.

        Raises
        ------
        LookupError
            When no such peer is configured.
        """

    @property
    def intake(self) -> Intake: ...  # noqa: D102
    @property
    def ignores_others(self) -> bool: ...  # noqa: D102

    def held_studies(self) -> Sequence[str]:
        """Return the UID of every study the node holds, the newest first."""

    def held(self, study_uid: str) -> Sequence[Held]:
        """Return the images and the results of a study; nothing when it is not held."""

    def health(self) -> Mapping[str, Any]:
        """Return what a monitor asks; ``status`` is ``ok`` or the node is unwell (503)."""
