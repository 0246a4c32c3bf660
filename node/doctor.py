"""Is this node fit to run? Each check says what was found and, when bad, what to do."""

import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from node import analysis
from node.config import Config, Destination, DicomwebPeer, OrthancPeer, WorklistPeer
from node.dicom import dicomweb, orthanc, sender
from node.dicom.dicomweb import ups
from node.errors import LumbarError
from node.inference.runtime import ModelStore
from node.phantom import make_study
from node.storage.leases import clock_difference
from node.storage.opening import unfinished_in
from node.storage.store import Store
from node.trust import exposure

_CLOCKS_S = 0.5  # that the clocks of two hosts may differ


class Check(NamedTuple):
    """One check: good or bad, what was looked at, and what was found.

    A warning is no fault: the node may run as it is, if a person means it so.
    """

    ok: bool
    what: str
    found: str
    warning: bool = False


def examine(config: Config) -> Iterator[Check]:
    """Run every check; a bad one never stops the next."""
    yield _checked("data folder", partial(_data_folder, config))
    yield _checked("free space", partial(_free_space, config))
    if config.database_url:
        yield _checked("earlier database", partial(_earlier, config))
        yield _checked("clock", partial(_clock, config))
    if config.storage.is_store:
        yield _checked("object store", partial(_store, config))
    yield _checked("DICOM port", partial(_port, config.listen.bind, config.listen.port))
    yield _checked("web port", partial(_port, config.web.bind, config.web.port))
    yield _checked("models", partial(_models, config))
    for destination in config.destinations:
        echo = partial(_echo, config, destination)
        yield _checked(f"{destination.name}: C-ECHO {destination.ae_title}", echo)
    for peer in config.orthanc:
        yield _checked(f"{peer.name}: Orthanc", partial(_ping, peer))
    for archive in config.dicomweb:
        yield _checked(f"{archive.name}: DICOMweb", partial(_search, archive))
    for worklist in config.worklist:
        yield _checked(f"{worklist.name}: worklist", partial(_scheduled, worklist))
    if not config.destinations and not config.orthanc and not config.dicomweb:
        found = "none configured: results stay on this node"
        yield Check(True, "destinations", found, warning=True)
    for seen in exposure.look(config):
        yield Check(*seen)
    yield _checked("phantom round trip", partial(_round_trip, config))


def _checked(what: str, look: Callable[[], str]) -> Check:
    try:
        return Check(True, what, look())
    except (LumbarError, OSError) as error:
        return Check(False, what, str(error))


def _data_folder(config: Config) -> str:
    config.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=config.data_dir) as probe:
        probe.write(b"probe")
    return str(config.data_dir.resolve())


def _free_space(config: Config) -> str:
    free = shutil.disk_usage(config.data_dir).free // 2**20
    if free < config.listen.min_free_mb:
        raise OSError(
            f"{free} MB free, listen.min_free_mb is {config.listen.min_free_mb}: images would be "
            "refused; free space or lower the watermark"
        )
    return f"{free} MB, images are refused below {config.listen.min_free_mb} MB"


def _earlier(config: Config) -> str:
    """Look for a node that had its database here before it moved to PostgreSQL."""
    try:
        unfinished = unfinished_in(config.data_dir)
    except sqlite3.Error as error:
        return f"not readable ({error}): nothing here uses it"
    if unfinished:
        raise OSError(
            f"{unfinished} studies in {config.data_dir / 'index.sqlite'} are not finished, and "
            "nobody works on them: start the node once more as it was, and let it finish"
        )
    return "nothing is left in it"


def _clock(config: Config) -> str:
    ahead_s = clock_difference(config.database_url)
    if abs(ahead_s) > _CLOCKS_S:
        raise OSError(
            f"{ahead_s:+.1f} s from the database's: hosts that differ take a study for complete "
            "too early or too late; set all clocks by NTP"
        )
    return f"{ahead_s:+.2f} s from the database's"


def _store(config: Config) -> str:
    store, started = Store(config.storage), time.perf_counter()
    store.probe()
    took_ms = (time.perf_counter() - started) * 1000
    return f"{store}: an object was put, read and deleted in {took_ms:.0f} ms"


def _port(bind: str, port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise OSError(
                f"{bind}:{port} cannot be bound ({error.strerror}): is the node already running, "
                "or another program on this port?"
            ) from error
    return f"{bind}:{port} is free"


def _models(config: Config) -> str:
    store = ModelStore(config.models_dir, config.work.provider, config.work.threads)
    used = store.uses()
    return f"{len(used)} models, hashes agree with their cards, on {used[0].provider}"


def _echo(config: Config, destination: Destination) -> str:
    sender.echo(destination, config.listen.ae_title, config.tls)
    return "answers"


def _ping(peer: OrthancPeer) -> str:
    return f"answers, version {orthanc.ping(peer)}"


def _search(peer: DicomwebPeer) -> str:
    dicomweb.ping(peer)
    return "answers a search"


def _scheduled(peer: WorklistPeer) -> str:
    return f"answers, {len(ups.scheduled(peer))} items are scheduled"


def _round_trip(config: Config) -> str:
    started = time.perf_counter()
    store = ModelStore(config.models_dir, config.work.provider, config.work.threads)
    with tempfile.TemporaryDirectory() as scratch:
        paths = make_study(1).write(Path(scratch) / "in")
        (taken,) = analysis.read(paths)
        findings = analysis.analyse(taken, store, Path(scratch) / "out", settings=config.report)
    assessed = sum(f.is_assessed for f in findings.findings)
    if assessed == 0:
        raise OSError("the phantom was not assessed: reinstall, the models may not fit this code")
    return f"{assessed} of 25 assessed in {time.perf_counter() - started:.1f} s"
