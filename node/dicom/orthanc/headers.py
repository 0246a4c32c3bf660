"""Choose the series of a study in an Orthanc from its headers; no pixel leaves Orthanc."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag

from node.dicom.orthanc.session import Session
from node.dicom.reading.attributes import UNREADABLE
from node.dicom.reading.reader import facts
from node.spine.facts import SeriesFacts
from node.spine.series import choose


def chosen_series(orthanc: Session, series: Sequence[Any]) -> list[Any]:
    """Return the series that fill a role, by the same rules that choose them in the analysis.

    Where the choice would be another one without the rest of the study (whose texts may say which
    body part this is), the rest is wanted too.

    Parameters
    ----------
    orthanc : Session
    series : sequence
        The MR series of one study, as Orthanc describes them.

    Raises
    ------
    NotAssessable
        When no series can fill any role.
    """
    known = {s["ID"]: _facts(orthanc, s) for s in series}
    chosen = _chosen([f for found in known.values() for f in found])
    subset = [s for s in series if any(f.series_uid in chosen.values() for f in known[s["ID"]])]
    again = _chosen([f for s in subset for f in known[s["ID"]]])
    return subset if again == chosen else list(series)


def _chosen(study: Sequence[SeriesFacts]) -> dict[str, str]:
    return {role.value: c.series_uid for role, c in choose(study).chosen.items()}


def _facts(orthanc: Session, series: Mapping[str, Any]) -> tuple[SeriesFacts, ...]:
    tags = orthanc.read(f"series/{series['ID']}/instances-tags")
    return facts((Path(instance), dataset(found)) for instance, found in tags.items())


def dataset(tags: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """Return what Orthanc's JSON says of an instance; what it cannot say is left out.

    Parameters
    ----------
    tags : mapping
        Tags such as ``0008,0060`` to their ``Type`` (``String``, ``Sequence``, ``Null``, ...) and
        ``Value``; values are texts with backslashes between them, as in a file.
    """
    found = Dataset()
    for number, element in tags.items():
        tag, kind, value = Tag(number.replace(",", "")), element["Type"], element["Value"]
        if tag.is_private or kind not in {"String", "Sequence"}:
            continue
        try:
            told = Items(map(dataset, value)) if kind == "Sequence" else value
            found.add(DataElement(tag, dictionary_VR(tag), told, validation_mode=config.IGNORE))
        except UNREADABLE:  # a retired tag, or a value that is none of its kind
            continue
    return found
