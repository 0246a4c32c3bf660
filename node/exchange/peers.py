"""The peers of the configuration by name: what is fetched from them, and what is sent to them.

A study's source and a delivery's destination are names: ``orthanc:NAME``, ``dicomweb:NAME``, or
that of a DICOM destination.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from node.config import BACKFILL, Config, DicomwebPeer, OrthancPeer, source_of
from node.dicom import dicomweb, orthanc
from node.dicom.audit import Event
from node.dicom.counting import count_images
from node.dicom.intake import Intake
from node.dicom.reading.limits import check_file
from node.errors import DeliveryRefused, LumbarError
from node.exchange.delivery import deliver, deliver_web
from node.exchange.notice import ORTHANC
from node.exchange.pull import DICOMWEB, Held, from_dicomweb, from_orthanc, say_in_orthanc


class _Named(Protocol):
    @property
    def name(self) -> str: ...


P = TypeVar("P", bound=_Named)


@dataclass(frozen=True)
class Peers:
    """Everyone this node speaks to.

    Attributes
    ----------
    config : Config
    intake : Intake
        The way in for what is fetched.
    held : callable
        A study's UID to the SOP Instance UIDs that are here already.
    note : callable
        Records, in the audit trail, an event and the SOP class it was about.
    """

    config: Config
    intake: Intake
    held: Held
    note: Callable[[Event, str], None]

    def orthanc(self, name: str) -> OrthancPeer:
        """Return an Orthanc; LookupError when it is not in the configuration."""
        return _find(name.removeprefix(ORTHANC), self.config.orthanc)

    def dicomweb(self, name: str) -> DicomwebPeer:
        """Return a DICOMweb archive; LookupError when it is not in the configuration."""
        return _find(name.removeprefix(DICOMWEB), self.config.dicomweb)

    def fetch(self, source: str, what: str) -> str:
        """Bring a study in and return its UID, as `node.exchange.pull.Pull` asks.

        Its images say that they came from ``source``, which may be a back-fill of the peer.
        """
        peer = _walked(source)
        if peer.startswith(ORTHANC):
            return from_orthanc(self.orthanc(peer), what, self.intake, self.held, source)
        return from_dicomweb(self.dicomweb(peer), what, self.intake, self.held, source)

    def say(self, source: str, what: str, words: str) -> None:
        """Show where a study is why nothing came of it; DICOMweb has no place for that."""
        if source.startswith(ORTHANC):
            say_in_orthanc(self.orthanc(source), what, words)

    def count(self, address: str, study_uid: str) -> Mapping[str, int | None]:
        """Ask ``AE@HOST:PORT`` or ``dicomweb:NAME`` for the MR series it holds of a study.

        Raises
        ------
        DestinationUnavailable, DeliveryRefused, Misconfigured
        """
        if address.startswith(DICOMWEB):
            return dicomweb.count_images(self.dicomweb(address), study_uid)
        return count_images(address, self.config.listen.ae_title, study_uid)

    def destinations_of(self, source: str) -> Sequence[str]:
        """Return who gets results: whom the rule for the source names.

        Without such a rule, the study's source and everyone who always does.
        """
        rule = source_of(source, self.config.sources)
        if rule.destinations is not None:
            return rule.destinations
        peer = _walked(source)
        back = [peer] if peer.startswith((ORTHANC, DICOMWEB)) else []
        named = [d.name for d in self.config.destinations]
        web = [DICOMWEB + p.name for p in self.config.dicomweb if p.send_results]
        return list(dict.fromkeys([*back, *named, *web]))

    def send(self, name: str, files: Sequence[Path]) -> str:
        """Send a result set, and record in the audit trail that it left.

        Returns
        -------
        str
            What the destination got differently, in words.

        Raises
        ------
        DestinationUnavailable, DeliveryRefused
        """
        try:
            told = self._deliver(name, files)
        except LumbarError as error:
            self._record_sent(name, files, failure=str(error))
            raise
        self._record_sent(name, files)
        return told

    def _deliver(self, name: str, files: Sequence[Path]) -> str:
        calling_ae = self.config.listen.ae_title
        try:
            if name.startswith(ORTHANC):
                orthanc.push(self.orthanc(name), files, calling_ae)
                return ""
            if name.startswith(DICOMWEB):
                return deliver_web(files, self.dicomweb(name))
            destination = _find(name, self.config.destinations)
        except LookupError as error:
            raise DeliveryRefused(
                f"destination {name!r} is no longer in the configuration"
            ) from error
        return deliver(files, destination, calling_ae, self.config.tls)

    def _record_sent(self, name: str, files: Sequence[Path], failure: str = "") -> None:
        hosts = {d.name: d.host for d in self.config.destinations}
        hosts |= {DICOMWEB + p.name: urlsplit(p.url).hostname or "" for p in self.config.dicomweb}
        for path in files:
            facts = check_file(path)
            event = Event("sent", name, hosts.get(name, ""), facts.study_uid, failure)
            self.note(event, facts.sop_class_uid)


def _walked(source: str) -> str:
    """Return the peer that a source names, also where it was walked through."""
    return source.removeprefix(f"{BACKFILL}:")


def _find(name: str, peers: Sequence[P]) -> P:
    for peer in peers:
        if peer.name == name:
            return peer
    raise LookupError(f"{name!r} is not in the configuration")
