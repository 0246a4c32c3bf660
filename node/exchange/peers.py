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
from node.dicom import dicomweb, orthanc, pledge, readback
from node.dicom.audit import Event
from node.dicom.commitment import Reference
from node.dicom.counting import count_images
from node.dicom.intake import Intake
from node.dicom.pledge import Keep
from node.dicom.reading.limits import check_file
from node.errors import DeliveryRefused, LumbarError
from node.exchange.delivery import deliver, deliver_web
from node.exchange.notice import ORTHANC
from node.exchange.outbox import Delivered, Stored
from node.exchange.proving import Phase
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

    def send(self, name: str, files: Sequence[Path]) -> Delivered:
        """Send a result set, and record in the audit trail that it left.

        Raises
        ------
        DestinationUnavailable, DeliveryRefused
        """
        try:
            done = self._deliver(name, files)
        except LumbarError as error:
            self._record_sent(name, files, failure=str(error))
            raise
        self._record_sent(name, files)
        return done

    def first_proof(self, name: str) -> Phase:
        """Return what a proof of delivery begins with."""
        may_ask = {d.name for d in self.config.destinations if d.proof == "auto"}
        return "ask" if name in may_ask else "query"

    def ask(
        self,
        keep: Keep,
        name: str,
        stored: Sequence[Stored],
        transaction_uid: str,
        is_told: Callable[[], bool],
    ) -> None:
        """Ask a destination for storage commitment, as `node.dicom.pledge.ask` does."""
        pledge.ask(
            [Reference(one.sop_class_uid, one.sop_instance_uid) for one in stored],
            transaction_uid,
            _find(name, self.config.destinations),
            self.config.listen.ae_title,
            keep,
            is_told=is_told,
            tls=self.config.tls,
        )

    def missing(self, name: str, study_uid: str, stored: Sequence[Stored]) -> Sequence[str]:
        """Return which objects a destination does not name in its answers to queries.

        Raises
        ------
        DestinationUnavailable, DeliveryRefused, Misconfigured
        LookupError
            When it is not configured.
        """
        if name.startswith(DICOMWEB):
            found = dicomweb.instances_of(self.dicomweb(name), study_uid)
        else:
            found = readback.instances_of(
                study_uid,
                sorted({one.series_uid for one in stored}),
                _find(name, self.config.destinations),
                self.config.listen.ae_title,
                self.config.tls,
            )
        return [one.sop_instance_uid for one in stored if one.sop_instance_uid not in found]

    def _deliver(self, name: str, files: Sequence[Path]) -> Delivered:
        calling_ae = self.config.listen.ae_title
        try:
            if name.startswith(ORTHANC):
                orthanc.push(self.orthanc(name), files, calling_ae)
                return Delivered("", (), "query", "each object was looked up by REST")
            if name.startswith(DICOMWEB):
                peer = self.dicomweb(name)
                return _believed(deliver_web(files, peer), peer.proof)
            destination = _find(name, self.config.destinations)
        except LookupError as error:
            raise DeliveryRefused(
                f"destination {name!r} is no longer in the configuration"
            ) from error
        done = deliver(files, destination, calling_ae, self.config.tls)
        return _believed(done, destination.proof)

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


def _believed(done: Delivered, proof: str) -> Delivered:
    """Take the status for a proof where a destination's setting says so."""
    if proof != "status":
        return done
    return done._replace(proof="status", proof_note="as configured")


def _find(name: str, peers: Sequence[P]) -> P:
    for peer in peers:
        if peer.name == name:
            return peer
    raise LookupError(f"{name!r} is not in the configuration")
