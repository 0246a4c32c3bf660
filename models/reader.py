"""Studies in the layout of the RSNA 2024 download: images by study and series, truth in patient mm.

``train_images/<study>/<series>/<instance>.dcm`` beside the three tables (`models.tables`). Images
are named by their folders, because the download's own UIDs repeat from series to series.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models.tables import LabelledStudy
from node.dicom.reading.reader import grouped, instance_facts, load_volume, read_header
from node.errors import InvalidInstance, NotAssessable
from node.spine.anatomy import Condition, FindingKey, Level, Role
from node.spine.candidates import candidates
from node.spine.facts import SeriesFacts
from node.spine.geometry import Vector
from node.spine.series import choose
from node.spine.volume import Volume

#: What the tables call a series, for `node.spine.series`, which believes text last.
DESCRIPTIONS = {
    Role.SAGITTAL_T1: "Sagittal T1",
    Role.SAGITTAL_T2: "Sagittal T2",
    Role.AXIAL_T2: "Axial T2",
}


@dataclass(frozen=True, eq=False)
class Mark:
    """A label in patient space.

    Attributes
    ----------
    image : str
        Name of the image it was marked on, as in `Slice.sop_instance_uid`.
    point_mm : (3,) float64
        LPS.
    """

    image: str
    point_mm: Vector


@dataclass(frozen=True, eq=False)
class Study:
    """A study's headers, read; `volumes` and `series` decode its pixels.

    Attributes
    ----------
    labelled : LabelledStudy
    series_facts : dict of series id to SeriesFacts
    files : dict of image name to Path
    marks : dict of (series id, FindingKey) to Mark
    severities : dict of FindingKey to float
        0 to 1, which only a phantom knows.
    oddities : Counter
        What of the labels and images could not be used.
    """

    labelled: LabelledStudy
    series_facts: Mapping[str, SeriesFacts]
    files: Mapping[str, Path]
    marks: Mapping[tuple[str, FindingKey], Mark]
    severities: Mapping[FindingKey, float]
    oddities: Counter[str]

    def volumes(self) -> dict[Role, Volume]:
        """Return what the node would choose and read, the tables' words being its descriptions."""
        try:
            choice = choose(list(self.series_facts.values()))
        except NotAssessable:
            return {}
        read = {r: load_volume(r, c, self.files, {}) for r, c in choice.chosen.items()}
        return {role: volume for role, volume in read.items() if volume.slices}

    def series(self, series_id: str) -> Volume | None:
        """Return one series alone, as the node would read it; None when it would not."""
        role = self.labelled.series[series_id]
        facts = self.series_facts[series_id]
        usable = [c for c in candidates(facts, [facts]) if c.role is role]
        if not usable:
            return None
        largest = max(usable, key=lambda c: len(c.frames))
        volume = load_volume(role, largest, self.files, {})
        return volume if volume.slices else None


def read_study(
    folder: Path, labelled: LabelledStudy, series_ids: Iterable[str] | None = None
) -> Study:
    """Read the headers of a study, or of some of its series.

    Parameters
    ----------
    folder : Path
        Of the download.
    labelled : LabelledStudy
    series_ids : iterable of str, optional
        All of the study's when left out.
    """
    oddities: Counter[str] = Counter()
    found: dict[str, SeriesFacts] = {}
    files: dict[str, Path] = {}
    for series_id in labelled.series if series_ids is None else series_ids:
        series, paths = _series(folder, labelled, series_id, oddities)
        files |= paths
        if series is None:
            oddities["series without a readable image"] += 1
        else:
            found[series_id] = series
    marks = _marks(labelled, found, oddities)
    severities = _severities(folder / "truth" / f"{labelled.study_id}.json")
    return Study(labelled, found, files, marks, severities, oddities)


def image_name(study_id: str, series_id: str, instance: int | str) -> str:
    """Return the name of an image, unique in the whole download."""
    return f"{study_id}.{series_id}.{instance}"


def _series(
    folder: Path, labelled: LabelledStudy, series_id: str, oddities: Counter[str]
) -> tuple[SeriesFacts | None, dict[str, Path]]:
    instances: list[SeriesFacts] = []
    files: dict[str, Path] = {}
    for path in sorted((folder / "train_images" / labelled.study_id / series_id).glob("*.dcm")):
        try:
            facts = instance_facts(read_header(path))
        except InvalidInstance:
            oddities["images that cannot be read"] += 1
            continue
        name = image_name(labelled.study_id, series_id, path.stem)
        files[name] = path
        frames = tuple(
            replace(f, sop_instance_uid=name, series_uid=series_id) for f in facts.frames
        )
        instances.append(
            replace(
                facts,
                study_uid=labelled.study_id,
                series_uid=series_id,
                description=DESCRIPTIONS[labelled.series[series_id]],
                frames=frames,
            )
        )
    return next(iter(grouped(instances)), None), files


def _marks(
    labelled: LabelledStudy, found: Mapping[str, SeriesFacts], oddities: Counter[str]
) -> dict[tuple[str, FindingKey], Mark]:
    """Put labels into patient space by the geometry of the image that each was made on."""
    planes = {
        frame.sop_instance_uid: frame.plane for series in found.values() for frame in series.frames
    }
    marks = {}
    for label in labelled.labels:
        if label.series_id not in found:
            continue
        name = image_name(labelled.study_id, label.series_id, label.instance)
        plane = planes.get(name)
        if name not in planes:
            oddities["points on an image that is not there"] += 1
        elif plane is None:
            oddities["points on an image without geometry"] += 1
        elif not plane.contains(label.column, label.row):
            oddities["points outside their image"] += 1
        else:
            point = plane.to_patient(label.column, label.row)
            marks[label.series_id, (label.condition, label.level)] = Mark(name, point)
    return marks


def _severities(path: Path) -> dict[FindingKey, float]:
    """Read what a phantom knows beyond the tables (`models.phantom_set`)."""
    if not path.exists():
        return {}
    findings = json.loads(path.read_text("utf-8"))["findings"]
    return {(Condition(f["condition"]), Level(f["level"])): f["severity"] for f in findings}
