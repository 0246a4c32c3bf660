"""The PACS of the chaos: foreign senders that abort, are killed, and send until all is in."""

import copy
import hashlib
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset

from tests.builders import mr_study, uid, write_all
from tests.chaos.sight import ENDED
from tests.receiving import DCMTK_ENVIRONMENT, dataset

_RESPONSE = re.compile(
    r"Sending file: (\S+)(?:(?!Sending file:).)*?Store Response \(([^)]+)\)", re.S
)
PATIENCE_S = 1.0
#: Rows of an image of the small phantom: enough for every level to be found.
_ROWS = 128
#: The share of phantoms among the studies; the others are noise, which costs less.
_PHANTOMS = 0.4
#: Ways to send a study that is to be analysed, with their weights.
WAYS = {"sent once": 3, "sent twice at once": 2, "sent again later": 2, "images came late": 2}


@dataclass
class Ledger:
    """What was sent and what was acknowledged; safe to use from several threads.

    Attributes
    ----------
    acknowledged : dict of SOP Instance UID to SHA-256
        Of the data set that was acknowledged with Success, by any node.
    whole : list of str
        Study Instance UIDs all of whose images are acknowledged, of senders that are analysed.
    counts : Counter
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answers: dict[str, str], contents: dict[str, str]) -> set[str]:
        """Take down what a sender was answered, and return whose instances are safe now."""
        safe = {uid for uid, answer in answers.items() if answer == "Success"}
        with self.lock:
            self.acknowledged.update({uid: contents[uid] for uid in safe})
            self.counts.update(f"answer: {answer}" for answer in answers.values())
        return safe

    def count(self, what: str) -> None:
        """Count an event."""
        with self.lock:
            self.counts[what] += 1


def small(images: Sequence[Dataset]) -> list[Dataset]:
    """Return the images of a phantom with pixels averaged in squares, to cost a second."""
    made = []
    for image in map(copy.deepcopy, images):
        side = max(1, round(image.Rows / _ROWS))
        rows, columns = image.Rows // side, image.Columns // side
        pixels = image.pixel_array[: rows * side, : columns * side]
        mean = pixels.reshape(rows, side, columns, side).mean((1, 3))
        image.Rows, image.Columns = rows, columns
        image.PixelSpacing = [float(mm) * side for mm in image.PixelSpacing]
        image.PixelData = mean.astype(np.uint16).tobytes()
        made.append(image)
    return made


def another(images: Sequence[Dataset], name: str) -> list[Dataset]:
    """Return the images as another patient's study."""
    made = [copy.deepcopy(image) for image in images]
    for image in made:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(image, keyword, uid(name, image[keyword].value))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientID = name
    return made


@dataclass
class Sender:
    """Sends one study after the other with DCMTK's storescu, each until all of it is in.

    Attributes
    ----------
    name : str
        Its AE title and its folder.
    port : int
    pause_s : float
        Between studies.
    """

    name: str
    port: int
    folder: Path
    ledger: Ledger
    stop: threading.Event
    seed: int
    pause_s: float = 0.0

    def run(self) -> None:
        """Send until told to stop; what is begun by then is finished."""
        chance = random.Random(self.seed)  # noqa: S311 - nothing secret
        number = 0
        while not self.stop.is_set():
            number += 1
            self.study(f"chaos {self.seed} {number}", chance)
            self.stop.wait(self.pause_s)

    def study(self, name: str, chance: random.Random) -> None:
        """Send one study, whole in the end."""
        images = list(mr_study(name, slices=chance.choice([5, 8, 20])))
        self.send_all(images, self.folder / self.name, [self.port], chance)

    def send_all(
        self, images: Sequence[Dataset], folder: Path, ports: Sequence[int], chance: random.Random
    ) -> None:
        """Send images to each of some ports, at the same moment, until all are acknowledged."""
        paths = write_all(list(images), folder)
        uids = {str(p): str(i.SOPInstanceUID) for p, i in zip(paths, images, strict=True)}
        contents = {uids[str(p)]: _sha256(dataset(p.read_bytes())) for p in paths}
        works = [
            threading.Thread(target=self._until_safe, args=(uids, contents, port, one))
            for port, one in ((port, random.Random(chance.random())) for port in ports)  # noqa: S311
        ]
        for work in works:
            work.start()
        for work in works:
            work.join()

    def _until_safe(
        self, uids: dict[str, str], contents: dict[str, str], port: int, chance: random.Random
    ) -> None:
        pending = dict(uids)
        while pending:
            answers = self._send(list(pending), port, chance)
            safe = self.ledger.note({uids[p]: a for p, a in answers.items()}, contents)
            pending = {path: uid for path, uid in pending.items() if uid not in safe}
            if pending:
                self.ledger.count("sender: begun again")
                time.sleep(PATIENCE_S)

    def _send(self, paths: list[str], port: int, chance: random.Random) -> dict[str, str]:
        """Run storescu over these files and return the answers it got, by path."""
        fate = chance.choices(["released", "aborted", "kill"], [6, 2, 2])[0]
        options = ["--abort"] if fate == "aborted" else []
        command = ["/usr/bin/storescu", "-v", *options, "-aet", self.name, "-aec", "LUMBAR"]
        process = subprocess.Popen(
            [*command, "-to", "10", "127.0.0.1", str(port), *paths],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=DCMTK_ENVIRONMENT,
        )
        try:
            said, _ = process.communicate(
                timeout=chance.uniform(0.01, 0.3) if fate == "kill" else 120
            )
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            fate = "killed"
        self.ledger.count(f"sender: {'released' if fate == 'kill' else fate}")
        return dict(_RESPONSE.findall(said))


@dataclass(frozen=True)
class Wishes:
    """What is sent to be analysed, where else, and how much at a time.

    Attributes
    ----------
    phantom : sequence of Dataset
        The images of a small phantom study; none: every study is noise.
    second_port : int
        Where else a study is sent at the same moment: another listener, or another node.
    states : callable
        The state of each study the node knows.
    most_open : int
        No new study is begun while so many are on their way.
    """

    phantom: Sequence[Dataset]
    second_port: int
    states: Callable[[], dict[str, str]]
    most_open: int = 4


@dataclass(kw_only=True)
class Analysed(Sender):
    """A sender whose studies are analysed, sent in every way in which a PACS sends them."""

    wishes: Wishes
    _earlier: list[tuple[str, list[Dataset]]] = field(default_factory=list)

    def study(self, name: str, chance: random.Random) -> None:
        """Send a phantom or a plain study, in one of the ways."""
        is_phantom = bool(self.wishes.phantom) and chance.random() < _PHANTOMS
        images = another(self.wishes.phantom, name) if is_phantom else list(mr_study(name))
        study_uid = str(images[0].StudyInstanceUID)
        folder = self.folder / self.name
        (way,) = chance.choices(list(WAYS), list(WAYS.values()))
        ports = [self.port]
        if way == "images came late":
            first = [image for image in images if abs(image.ImageOrientationPatient[1]) > 0.7]
            self.send_all(first, folder, ports, chance)
            self._await(lambda: self.wishes.states().get(study_uid) in ENDED, 30.0)
        elif way == "sent twice at once":
            ports = [self.port, self.wishes.second_port]
        self.send_all(images, folder, ports, chance)
        self.ledger.whole.append(study_uid)
        self.ledger.count(f"study {way}")
        if way == "sent again later":
            self._earlier.append((study_uid, images))
        self._again(folder, chance)
        self._await(self._has_room, 120.0)

    def _again(self, folder: Path, chance: random.Random) -> None:
        """Send an earlier study once more when it has ended."""
        states = self.wishes.states()
        for one in self._earlier:
            if states.get(one[0]) in ENDED:
                self._earlier.remove(one)
                self.send_all(one[1], folder, [self.port], chance)
                self.ledger.count("study sent again after its end")
                return

    def _has_room(self) -> bool:
        states = self.wishes.states()
        return (
            sum(states.get(uid) not in ENDED for uid in self.ledger.whole) < self.wishes.most_open
        )

    def _await(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline and not self.stop.is_set():
            time.sleep(0.2)


def _sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
