"""The PACS of the soak: foreign senders that abort, are killed, and send again until all is in."""

import hashlib
import random
import re
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.builders import mr_study, write_all
from tests.receiving import DCMTK_ENVIRONMENT, dataset

_RESPONSE = re.compile(
    r"Sending file: (\S+)(?:(?!Sending file:).)*?Store Response \(([^)]+)\)", re.S
)
PATIENCE_S = 1.0


@dataclass
class Ledger:
    """What was sent and what was acknowledged; safe to use from several threads.

    Attributes
    ----------
    acknowledged : dict of SOP Instance UID to SHA-256
        Of the data set that was acknowledged with Success.
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


@dataclass
class Sender:
    """Sends one study after the other with DCMTK's storescu, each until all of it is in.

    Attributes
    ----------
    name : str
        Its AE title and its folder.
    pause_s : float
        Between studies.
    is_analysed : bool
        Whether the node is to run its studies.
    """

    name: str
    port: int
    folder: Path
    ledger: Ledger
    stop: threading.Event
    seed: int
    pause_s: float = 0.0
    is_analysed: bool = False

    def run(self) -> None:
        """Send until told to stop; what is begun by then is finished."""
        chance = random.Random(self.seed)  # noqa: S311 - nothing secret
        number = 0
        while not self.stop.is_set():
            number += 1
            self._study(f"soak {self.seed} {number}", chance)
            self.stop.wait(self.pause_s)

    def _study(self, study: str, chance: random.Random) -> None:
        images = list(mr_study(study, slices=chance.choice([5, 8, 20])))
        paths = write_all(images, self.folder / self.name)
        uids = {str(p): str(i.SOPInstanceUID) for p, i in zip(paths, images, strict=True)}
        contents = {uids[str(p)]: _sha256(dataset(p.read_bytes())) for p in paths}
        pending = dict(uids)
        while pending:
            answers = self._send(list(pending), chance)
            safe = self.ledger.note({uids[p]: a for p, a in answers.items()}, contents)
            pending = {path: uid for path, uid in pending.items() if uid not in safe}
            if pending:
                self.ledger.count("sent again")
                time.sleep(PATIENCE_S)
        if self.is_analysed:
            self.ledger.whole.append(str(images[0].StudyInstanceUID))

    def _send(self, paths: list[str], chance: random.Random) -> dict[str, str]:
        """Run storescu over these files and return the answers it got, by path."""
        fate = chance.choices(["release", "abort", "kill"], [6, 2, 2])[0]
        options = ["--abort"] if fate == "abort" else []
        command = ["/usr/bin/storescu", "-v", *options, "-aet", self.name, "-aec", "LUMBAR"]
        process = subprocess.Popen(
            [*command, "-to", "10", "127.0.0.1", str(self.port), *paths],
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
        self.ledger.count({"kill": "release"}.get(fate, fate))
        return dict(_RESPONSE.findall(said))


def _sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
