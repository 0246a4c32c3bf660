"""The archives that can be walked through: a folder tree, an Orthanc, a DICOMweb archive."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from node.config import BACKFILL
from node.dicom import dicomweb, orthanc
from node.dicom.arrival import Arrival
from node.dicom.reading.glance import glance
from node.errors import LumbarError, Misconfigured, RetryLater
from node.exchange.notice import ORTHANC
from node.exchange.peers import Peers
from node.exchange.pull import DICOMWEB, require_space
from node.storage.ledger import Found

log = structlog.get_logger()

FOLDER = f"{BACKFILL}:folder"
#: Files, or studies of a DICOMweb archive, that are written down at once.
PAGE = 1000
_CHUNK = 1 << 20

#: (folder, file name) of the images of a study, as they were listed; none of another archive.
Files = Iterable[tuple[str, str]]

P = TypeVar("P")


@dataclass(frozen=True)
class Wanted:
    """Which studies: from a day, to a day, by their description (``*`` and ``?`` for anything)."""

    since: date | None = None
    until: date | None = None
    description: str = ""

    @property
    def days(self) -> str:
        """The days as DICOM matches a range (PS3.4 C.2.2.2.5); empty for all."""
        first, last = (f"{day:%Y%m%d}" if day else "" for day in (self.since, self.until))
        return f"{first}-{last}" if first or last else ""

    def to_json(self) -> dict[str, str]:
        """Return the filters as plain values."""
        return {"days": self.days, "description": self.description}

    def takes(self, study_date: str, description: str) -> bool:
        """Tell whether a study is one of them; one without a date is in no range of days."""
        first, _, last = self.days.partition("-")
        is_in_time = not self.days or (first or "0") <= study_date <= (last or "9")
        return is_in_time and self.describes(description)

    def describes(self, description: str) -> bool:
        """Tell whether a description is one of those; case does not matter."""
        pattern = self.description.lower()
        return not pattern or fnmatchcase(description.lower(), pattern)

    def query(self) -> dict[str, str]:
        """Return what an archive is asked for: studies with MR series."""
        asked = {"ModalitiesInStudy": "MR", "StudyDate": self.days}
        asked["StudyDescription"] = self.description
        return {keyword: value for keyword, value in asked.items() if value}


class Collection(Protocol):
    """An archive that is walked through.

    Attributes
    ----------
    place : str
        What names it, from wherever the command is run.
    source : str
        Where images that it brings in say they came from.
    """

    @property
    def place(self) -> str:
        """See above."""

    @property
    def source(self) -> str:
        """See above."""

    def pages(self, wanted: Wanted) -> Iterator[Iterable[Found]]:
        """Yield its studies, some at a time; the same one may come again."""

    def images(self, name: str, files: Files) -> tuple[str, frozenset[str]]:
        """Return the UID of a study and the SOP Instance UIDs of its images."""

    def bring(self, name: str, files: Files) -> str:
        """Bring the images that are not here yet into the node; return the study's UID."""

    def answers(self) -> bool:
        """Tell whether it can be reached at all."""


@dataclass
class FolderTree:
    """A folder and all below it; the images of a study may lie anywhere in it.

    Attributes
    ----------
    root : Path
    peers : Peers
        The way in, and what is held already.
    """

    root: Path
    peers: Peers
    source: str = FOLDER

    @property
    def place(self) -> str:
        """Its whole path."""
        return str(self.root)

    def pages(self, wanted: Wanted) -> Iterator[Iterable[Found]]:
        """Read the beginning of every file; no folder's listing is held as a whole."""
        names: dict[tuple[str, str], list[str]] = {}
        count = 0
        for entry in _walk(self.root):
            try:
                seen = glance(Path(entry.path))
            except OSError as error:
                log.warning("a file is left out", reason=error.strerror)
                continue
            if seen is None or not wanted.takes(seen.study_date, seen.description):
                continue
            place = seen.study_uid, str(Path(entry.path).parent)
            names.setdefault(place, []).append(entry.name)
            count += 1
            if count % PAGE == 0:
                yield _found(names)
                names = {}
        yield _found(names)

    def images(self, name: str, files: Files) -> tuple[str, frozenset[str]]:
        """Return the study's UID and its images, read from the files again."""
        try:
            seen = [glance(path) for path in _paths(files)]
        except OSError as error:
            raise RetryLater(f"a file of study {name} cannot be read: {error.strerror}") from error
        return name, frozenset(one.sop_instance_uid for one in seen if one)

    def bring(self, name: str, files: Files) -> str:
        """Bring in each file through the one way in; what is not fit to read is left out.

        Raises
        ------
        RetryLater
            When a file cannot be read, or there is no room for it.
        """
        held = self.peers.held(name)
        try:
            for path in _paths(files):
                seen = glance(path)
                if seen and seen.sop_instance_uid not in held:
                    self._bring(path, name)
        except OSError as error:  # in plain words: a file's name may be a patient's
            raise RetryLater(f"a file of study {name} cannot be read: {error.strerror}") from error
        return name

    def _bring(self, path: Path, name: str) -> None:
        arrival = Arrival(self.peers.intake, self.source, require_space, study_uid=name)
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    arrival.write(chunk)
            arrival.end()
        finally:
            arrival.drop()

    def answers(self) -> bool:
        """Tell whether the folder is there: a share may be gone for a while."""
        return self.root.is_dir()


@dataclass
class _PeerArchive:
    """A peer of the configuration."""

    place: str
    peers: Peers

    @property
    def source(self) -> str:
        """The peer, and that it was walked through."""
        return f"{BACKFILL}:{self.place}"

    def bring(self, name: str, _files: Files) -> str:
        """Fetch what is not here."""
        return self.peers.fetch(self.source, name)


class OrthancArchive(_PeerArchive):
    """An Orthanc of the configuration."""

    def pages(self, wanted: Wanted) -> Iterator[Iterable[Found]]:
        """Ask once for all identifiers: 44 bytes a study."""
        yield map(Found, orthanc.search(self.peers.orthanc(self.place), wanted.query()))

    def images(self, name: str, _files: Files) -> tuple[str, frozenset[str]]:
        """Return what `node.dicom.orthanc.images` says."""
        return orthanc.images(self.peers.orthanc(self.place), name)

    def answers(self) -> bool:
        """Ask for its version."""
        return _answers(orthanc.ping, self.peers.orthanc(self.place))


class DicomwebArchive(_PeerArchive):
    """A DICOMweb archive of the configuration."""

    def pages(self, wanted: Wanted) -> Iterator[Iterable[Found]]:
        """Ask page by page until one brings nothing: a server may give less than is asked for.

        Descriptions are compared here: servers differ in what ``*`` and upper case mean.
        """
        peer, count = self.peers.dicomweb(self.place), 0
        asked = Wanted(wanted.since, wanted.until).query()
        while page := dicomweb.described(peer, asked, PAGE, count):
            count += len(page)
            yield [Found(uid) for uid, told in page if told is None or wanted.describes(told)]

    def images(self, name: str, _files: Files) -> tuple[str, frozenset[str]]:
        """Return the MR images that it holds of a study."""
        return name, dicomweb.images(self.peers.dicomweb(self.place), name)

    def answers(self) -> bool:
        """Ask for one study."""
        return _answers(dicomweb.ping, self.peers.dicomweb(self.place))


def archive_of(source: str, peers: Peers) -> Collection:
    """Return the archive that a person names: ``orthanc:NAME``, ``dicomweb:NAME`` or a folder.

    Raises
    ------
    Misconfigured
        When there is no such peer or folder.
    """
    try:
        if source.startswith(ORTHANC):
            return OrthancArchive(ORTHANC + peers.orthanc(source).name, peers)
        if source.startswith(DICOMWEB):
            return DicomwebArchive(DICOMWEB + peers.dicomweb(source).name, peers)
    except LookupError as error:
        raise Misconfigured(f"{source}: {error}") from error
    root = Path(source).resolve()
    if not root.is_dir():
        raise Misconfigured(
            f"{source} is no folder; a peer of the configuration is named orthanc:NAME or "
            "dicomweb:NAME"
        )
    return FolderTree(root, peers)


def _answers(ask: Callable[[P], object], peer: P) -> bool:
    try:
        ask(peer)
    except LumbarError:
        return False
    return True


def _walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder as the system lists them; links to folders are not followed.

    What is kept is one open listing for each level, however many files a folder has.
    """
    try:
        with os.scandir(root) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(Path(entry.path))
                elif entry.is_file():
                    yield entry
    except OSError as error:
        log.warning("a folder is left out", reason=error.strerror)


def _paths(files: Files) -> Iterator[Path]:
    return (Path(folder, name) for folder, name in files)


def _found(names: Mapping[tuple[str, str], list[str]]) -> list[Found]:
    return [Found(study, folder, tuple(files)) for (study, folder), files in names.items()]
