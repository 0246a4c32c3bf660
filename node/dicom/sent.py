"""What becomes of each object that is sent, and what may be sent in its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from node.dicom import statuses


@dataclass(frozen=True)
class Sent:
    """What became of one object.

    Attributes
    ----------
    sop_instance_uid : str
    status : int or None
        The destination's answer; None when it was not asked, since it takes no such object.
    sop_class_uid, sent_as : str
        The class the object has, and the one it was sent as, which differs after a step down.
    """

    sop_instance_uid: str
    status: int | None
    sop_class_uid: str
    sent_as: str

    @property
    def is_stored(self) -> bool:
        """Stored, perhaps with a warning."""
        return self.status is not None and statuses.is_stored(self.status)

    @property
    def is_unknown(self) -> bool:
        """The destination knows no such class: it did not accept it, or said so when asked."""
        return self.status in (None, statuses.CLASS_NOT_SUPPORTED)

    @property
    def meaning(self) -> str:
        """The status in words."""
        if self.status is None:
            return "SOP class or transfer syntax not accepted"
        return statuses.in_words(self.status)


@dataclass(frozen=True)
class Ladder:
    """SOP classes for one content, best first, and how an object becomes a lower one.

    Attributes
    ----------
    steps : sequence of str
    lower : callable
        ``(data set, SOP class)`` to the data set as that class.
    """

    steps: Sequence[str]
    lower: Callable[[Dataset, str], Dataset]

    def below(self, sop_class_uid: str) -> Sequence[str]:
        """Return the classes an object may be sent as instead; none when it is not on here."""
        if sop_class_uid not in self.steps:
            return ()
        return self.steps[self.steps.index(sop_class_uid) + 1 :]


@dataclass
class SendReport:
    """What became of each object, in the order they were sent."""

    destination: str
    sent: list[Sent] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """How many the destination has."""
        return sum(one.is_stored for one in self.sent)
