"""The whole hostile corpus against one real node: what it answers, what it holds, what is next."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from node.dicom.reading.decoder import Decoder
from node.storage.index import Index
from tests.builders import mr_image, mr_study, part10, uid
from tests.chaos.kills import children
from tests.chaos.trouble import resident_mb
from tests.hostile import corpus, files, lies, wire
from tests.hostile.killers import killers
from tests.node_process import ENVIRONMENT, NodeProcess
from tests.raw_sender import COMMAND, data, pdu
from tests.receiving import dataset
from tests.waiting import wait_for

ENDED = ("done", "rejected", "failed")
LIMIT_MB = 1500  # of all processes of a node together; its models take 400
_DATA = {
    "archive", "quarantine", "results", "index.sqlite", "audit.jsonl", "audit",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the survival table.

    Attributes
    ----------
    attack : str
    cases : int
    outcome : str
        What became of them.
    memory_mb : float
        Of all processes of the node, afterwards.
    """

    attack: str
    cases: int
    outcome: str
    memory_mb: float


class Siege:
    """A real node and everything that is thrown at it.

    Parameters
    ----------
    folder : Path
        For the node's data and the attackers' files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.node = NodeProcess(folder / "node")
        # Results come back to where they came from: rule IN-03.
        self.node.config.write_text(
            self.node.config.read_text("utf-8").replace(
                "[listen]", "[listen]\nnetwork_timeout_s = 3"
            )
            + f'[[destinations]]\nname = "itself"\nhost = "127.0.0.1"\n'
            f'port = {self.node.dicom_port}\nae_title = "LUMBAR"\n',
            "utf-8",
        )

    def run(self) -> Iterator[Row]:
        """Yield a row for each kind of attack; the node has to be well after each."""
        attacks: dict[str, Callable[[], Counter[str]]] = {
            "lengths that lie, cut-off data sets, mixed encodings": self._corpus("_broken_lengths"),
            "sequences nested up to 5000 deep": self._corpus("_nesting"),
            "UIDs that are paths, in study, series and instance": self._corpus("_identities"),
            "pixels that do not fit their header; codestreams of nothing and noise": self._corpus(
                "_pixels"
            ),
            "text: markup, terminal codes, character sets, private blocks": self._corpus("_text"),
            "rubbish, wrong order and 4 GiB PDUs on the port": self._rubbish,
            "sessions cut off at every 50th byte": self._cuts,
            "200 associations aborted, 60 left silent": self._storm,
            "studies whose headers lie": self._lying_studies,
            "two patients in one study": self._two_patients,
            "a decoder killed by a JPEG": self._killer,
            "the node's own results sent back to it": self._loop,
            "files with a program, an archive or a page in front, bombs": self._files,
        }
        with self.node:
            for name, attack in attacks.items():
                found = attack()
                self._require_health(name)
                told = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
                yield Row(name, found.total(), told, self._memory())

    def _memory(self) -> float:
        pid = self.node.pid("serve")
        return sum(resident_mb(one) for one in (pid, *children(pid)))

    def _send(self, name: str, body: bytes, syntax: str = corpus.EXPLICIT) -> str:
        found = self._send_all([(name, body)], syntax)
        return {0: "taken", 0xC000: "refused", 0xA900: "refused"}.get(
            found[0] if found else -1, "ended by the node"
        )

    def _send_all(
        self, images: list[tuple[str, bytes]], syntax: str = corpus.EXPLICIT
    ) -> list[int]:
        """Send images in one association and return the statuses."""
        stores = [wire.store(name, body, piece=16000) for name, body in images]
        request = wire.request(syntax=syntax)
        answer = wire.say(self.node.dicom_port, request, *stores, wire.RELEASE, wait_s=60)
        return wire.statuses(answer)

    def _require_health(self, after: str) -> None:
        """The next image is taken, memory is bounded, no file is where it should not be."""
        image = mr_image(f"after {after}")
        body = dataset(part10(image))
        what = f"a good image to be taken after {after}"
        wait_for(lambda: self._send(image.SOPInstanceUID, body) == "taken", seconds=60, what=what)
        if self._memory() > LIMIT_MB:
            raise AssertionError(f"after {after} the node holds {self._memory():.0f} MB")
        data = self.node.folder / "data"
        strange = {p.name.removesuffix("-wal").removesuffix("-shm") for p in data.iterdir()} - _DATA
        outside = [p for p in map(Path, ("/tmp/x", "/tmp/lumbar-hostile")) if p.exists()]  # noqa: S108
        if strange or outside:
            raise AssertionError(f"after {after} there are {strange} {outside}")

    def _corpus(self, group: str) -> Callable[[], Counter[str]]:
        def send() -> Counter[str]:
            found: Counter[str] = Counter()
            for case in getattr(corpus, group)():
                got = self._send(mr_image().SOPInstanceUID, case.body, case.syntax)
                if (got == "taken") != (case.answer == corpus.TAKEN):
                    raise AssertionError(f"{case.name} is {got}")
                found[got] += 1
            return found

        return send

    def _rubbish(self) -> Counter[str]:
        noises = [
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(4000),
            bytes(range(256)) * 20,
            pdu(1, b"x" * 20),
            wire.request() + data(1, COMMAND, b"\0" * 8000) * 50,
            wire.request(contexts=200),
            *(pdu(kind, b"", 0xFFFFFFFF) for kind in range(9)),
            *(wire.request() + pdu(kind, b"x", 0xFFFFFFFF) for kind in range(9)),
        ]
        for noise in noises:
            wire.say(self.node.dicom_port, noise, wait_s=30)
        return Counter({"ended by the node": len(noises)})

    def _cuts(self) -> Counter[str]:
        image = mr_image("cut", size=32)
        session = wire.request() + wire.store(image.SOPInstanceUID, dataset(part10(image)))
        ends = range(0, len(session), 50)
        for end in ends:
            wire.say(self.node.dicom_port, session[:end], hang_up=True)
        incoming = self.node.folder / "data/archive/incoming"
        wait_for(lambda: not list(incoming.iterdir()), what="the removal of what was begun")
        return Counter({"left nothing behind": len(ends)})

    def _storm(self) -> Counter[str]:
        for _ in range(200):
            wire.say(self.node.dicom_port, wire.request() + wire.ABORT, hang_up=True)
        silent = [wire.connect(self.node.dicom_port) for _ in range(60)]
        image = mr_image("between the silent")
        wait_for(lambda: self._send(image.SOPInstanceUID, dataset(part10(image))) == "taken")
        for one in silent:
            one.close()
        return Counter({"aborted": 200, "silent, and a sender between them served": 60})

    def _lying_studies(self) -> Counter[str]:
        """One study for each way a whole set of values can be wrong, through analysis."""
        told = [
            lies.Lie(
                f"siege {n}",
                tuple((k, v[n % len(v)]) for fate, k, v in lies.TABLE if fate == "used"),
                "used",
            )
            for n in range(3)
        ]
        told += [lie for lie in lies.lies() if lie.fate == "left out"][::6]
        names = []
        for lie in told:
            study = f"lie {lie.name}"
            told_files = zip(mr_study(study), lies.study(lie, study), strict=True)
            self._send_all([(i.SOPInstanceUID, dataset(file)) for i, file in told_files])
            names.append(uid("study", study))
        return self._ends(names)

    def _two_patients(self) -> Counter[str]:
        images = list(mr_study("two patients"))
        for number, image in enumerate(images):
            image.PatientID = f"P{number % 2}"
        self._send_all([(i.SOPInstanceUID, dataset(part10(i))) for i in images])
        found = self.node.wait_until(uid("study", "two patients"), *ENDED)
        if found["state"] != "failed" or found["deliveries"]:
            raise AssertionError(f"two patients in one study: {found}")
        return Counter({"ended without any result, with the reason": 1})

    def _killer(self) -> Counter[str]:
        """A study of JPEG lossless images, one of which ends gdcm's process."""
        folder = self._folder / "jpeg"
        folder.mkdir()
        images = []
        for number, image in enumerate(mr_study("killer")):
            plain, packed = folder / "plain", folder / f"{number}.dcm"
            plain.write_bytes(part10(image))
            subprocess.run(["/usr/bin/dcmcjpeg", "+e1", plain, packed], check=True)
            body = dataset(packed.read_bytes())
            if number == 7:
                with Decoder() as decoder:
                    body = dataset(next(killers(packed, decoder, 1)).read_bytes())
            images.append((image.SOPInstanceUID, body))
        self._send_all(images, corpus.CODECS["JPEG lossless"])
        found = self.node.wait_until(uid("study", "killer"), *ENDED)
        if "decoder's process died" not in " ".join(found["reasons"]):
            raise AssertionError(f"the reasons do not name the image: {found['reasons']}")
        return Counter({"image lost and named, the other 14 read": 1})

    def _loop(self) -> Counter[str]:
        """Every study above was delivered to the node itself; none of it may start anything."""
        known = self._studies()
        health = wait_for(self._ignored, seconds=60)
        if self._studies() != known:
            raise AssertionError("an own result became a study")
        return Counter({"accepted and ignored": health})

    def _files(self) -> Counter[str]:
        """Files that somebody analyses from a folder."""
        folder, out = self._folder / "files", self._folder / "out"
        folder.mkdir()
        hostile = dict(files.files())
        for name, contents in hostile.items():
            (folder / name).write_bytes(contents)
        done = subprocess.run(
            [sys.executable, "-m", "node.cli", "analyse", folder, "--out", out],
            capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT,
        )  # fmt: skip
        if done.returncode not in {1, 3} or "Traceback" in done.stderr:
            raise AssertionError(f"analyse ended with {done.returncode}: {done.stderr[-2000:]}")
        return Counter({"refused or read, and nothing written but results": len(hostile)})

    def _ends(self, names: list[str]) -> Counter[str]:
        return Counter(
            f"study {self.node.wait_until(name, *ENDED, seconds=300)['state']}" for name in names
        )

    def _studies(self) -> int:
        index = Index(f"sqlite:///{self.node.folder}/data/index.sqlite")
        try:
            return len(index.studies(10_000))
        finally:
            index.close()

    def _ignored(self) -> int:
        health = requests.get(f"{self.node.url}/healthz", timeout=10).json()
        return int(health["received"].get("ignored", 0))
