"""What the images of a study being received offer: each header is read once, as images arrive."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from node.dicom.reading import reader
from node.errors import NotAssessable, Rejected
from node.spine import series
from node.spine.facts import SeriesFacts
from node.spine.instances import InstanceRow
from node.spine.series import SeriesChoice

log = structlog.get_logger()


@dataclass
class Received:
    """The series choice of studies, by the instances they have now.

    Attributes
    ----------
    path : callable
        A content hash to its file in the archive.
    """

    path: Callable[[str], Path]
    _facts: dict[str, dict[str, SeriesFacts | None]] = field(default_factory=dict)
    _last: dict[str, tuple[frozenset[str], SeriesChoice | None]] = field(default_factory=dict)
    _urgent: set[str] = field(default_factory=set)

    def choice(self, study_uid: str, instances: Sequence[InstanceRow]) -> SeriesChoice | None:
        """Choose among the instances given; None when no series is usable."""
        wanted = frozenset(row.sha256 for row in instances)
        last = self._last.get(study_uid)
        if last and last[0] == wanted:
            return last[1]
        choice = self._choose(study_uid, instances)
        self._last[study_uid] = wanted, choice
        return choice

    def is_urgent(self, study_uid: str) -> bool:
        """Tell whether a header that `choice` has read asks for the study as urgent."""
        return study_uid in self._urgent

    def forget(self, study_uid: str) -> None:
        """Give back the memory of a study that is decided."""
        self._urgent.discard(study_uid)
        self._facts.pop(study_uid, None)
        self._last.pop(study_uid, None)

    def _choose(self, study_uid: str, instances: Sequence[InstanceRow]) -> SeriesChoice | None:
        known = self._facts.setdefault(study_uid, {})
        for row in instances:
            if row.sha256 not in known:
                known[row.sha256] = self._read(row)
        try:
            return series.choose(
                reader.grouped(one for row in instances if (one := known[row.sha256]) is not None)
            )
        except NotAssessable:
            return None

    def _read(self, row: InstanceRow) -> SeriesFacts | None:
        try:
            header = reader.read_header(self.path(row.sha256))
            if reader.is_urgent(header):
                self._urgent.add(row.study_uid)
            return reader.instance_facts(header)
        except Rejected as error:
            log.warning("header unreadable", study_uid=row.study_uid, reason=str(error))
            return None
