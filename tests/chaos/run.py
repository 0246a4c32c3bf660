"""The chaos itself: start a hospital, let it go wrong, let it come to rest, and count."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from node.loopback import free_port
from tests.chaos.count import count
from tests.chaos.destination import WELL, Destination
from tests.chaos.kills import Killer, Record, Supervisor
from tests.chaos.report import Outcome
from tests.chaos.senders import Analysed, Ledger, Sender, Wishes
from tests.chaos.sight import ENDED, Sight
from tests.chaos.trouble import FAKETIME, Clock, Memory, Trouble
from tests.node_process import NodeProcess, cli
from tests.orthanc_server import OrthancServer
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server
from tests.small_disk import Ballast, small_disk

COMMANDS = ("listen", "work", "work:2", "web")
_DISK_MB = (3000, 40)  # to begin with, and for each kill: as many studies are analysed meanwhile
_OTHER_HOST = 'hostname other-host && exec "$@"'
#: Studies of the other senders are kept and not analysed, or the node would be busy for hours.
_PROOF = "proof_within_s = 10"
_SETTINGS = """
[[sources]]
ae_title = "*"
ignore = true
[[sources]]
ae_title = "FIRST"
[[sources]]
ae_title = "SECOND"
[work]
studies_at_once = 2
threads = 1
[[destinations]]
name = "pacs"
host = "127.0.0.1"
port = {pacs}
ae_title = "PACS"
timeout_s = 10
[[destinations]]
name = "moody"
host = "127.0.0.1"
port = {moody}
ae_title = "MOODY"
timeout_s = 3
"""


@dataclass
class Hospital:
    """Everything that runs: the node under trouble, a second way in, and two destinations."""

    node: NodeProcess
    second: NodeProcess | None
    second_port: int
    pacs: OrthancServer
    moody: Destination
    clock: Clock
    ballast: Ballast
    database: PostgresServer | None
    store: S3Server | None

    @property
    def nodes(self) -> list[NodeProcess]:
        """The node under trouble and, where there is one, the other."""
        return [self.node, self.second] if self.second else [self.node]


@contextmanager
def _hospital(folder: Path, database: str, kills: int) -> Iterator[Hospital]:
    """Start it all; with PostgreSQL an object store, a second listener, a worker elsewhere."""
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder, _DISK_MB[0] + _DISK_MB[1] * kills))
        kept = {"StorageCompression": True}  # captures are large and simple
        pacs = OrthancServer(folder / "pacs", ae_title="PACS", settings=kept)
        moody = stack.enter_context(Destination(folder / "moody", "MOODY"))
        clock = Clock(folder / "clock")
        settings = _SETTINGS.format(pacs=pacs.dicom_port, moody=moody.port)
        words = clock.words if FAKETIME.exists() else []
        commands, second_port = list(COMMANDS), free_port()
        before = dict.fromkeys(commands, words)
        server, store, url = None, None, ""
        if database == "postgres":
            server = stack.enter_context(PostgresServer())
            store = stack.enter_context(S3Server(folder / "s3"))
            url, settings = server.url, settings + store.toml(timeout_s=3.0)
            commands.append("listen:2")
            before["listen:2"] = ["env", f"LUMBAR_LISTEN__PORT={second_port}", *words]
            other_host = ["unshare", "--uts", "sh", "-c", _OTHER_HOST, "sh"]
            before["work:2"] = [*other_host, *words]
        node = NodeProcess(
            folder / "node",
            extra=settings,
            deliver=_PROOF,
            commands=commands,
            before=before,
            data=disk / "data",
            database_url=url,
        )
        pacs.configuration["DicomModalities"] = {"node": ["LUMBAR", "127.0.0.1", node.dicom_port]}
        stack.enter_context(pacs)
        second = None
        if database == "sqlite":
            second = NodeProcess(folder / "second", extra=settings, deliver=_PROOF)
            second_port = second.dicom_port
            stack.enter_context(second)
        stack.enter_context(node)
        yield Hospital(node, second, second_port, pacs, moody, clock, Ballast(disk), server, store)


def chaos(
    folder: Path,
    database: str,
    kills: int,
    phantom: Sequence[Dataset],
    *,
    seed: int = 7,
    pause_s: float = 1.0,
    most_s: float = 3600.0,
    patience_s: float = 600.0,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run a node until so many of its processes were killed, and return what became of it.

    Parameters
    ----------
    folder : Path
        For the disk's image, the servers and the senders' files.
    database : "sqlite" or "postgres"
    kills : int
    phantom : sequence of Dataset
        The images of a small phantom study.
    seed : int
        Of every choice.
    pause_s : float
        Mean time between two pieces of trouble.
    most_s : float
        When to stop making trouble, whatever the number of kills.
    patience_s : float
        How long the node may take for the studies that are left in the end.
    say : callable
        Told how far it is.
    """
    began = time.monotonic()
    with _hospital(folder, database, kills) as here:
        ledger, record, sight = Ledger(), Record(), Sight(here.node)
        ended, watched = threading.Event(), threading.Event()
        supervisor = Supervisor(here.node, ledger)
        killer = Killer(here.node, sight, supervisor, record, random.Random(seed))  # noqa: S311
        trouble = Trouble(
            *(here.node, killer, here.moody, here.ballast, here.clock, ledger),
            *(random.Random(seed + 1), ended, kills),  # noqa: S311 - nothing secret
            database=here.database,
            store=here.store,
            pause_s=pause_s,
            say=say,
        )
        wishes = Wishes(phantom, here.second_port, sight.states)
        port, out = here.node.dicom_port, folder / "out"
        senders = [
            Analysed("FIRST", port, out, ledger, ended, 10 * seed + 1, wishes=wishes),
            Analysed("SECOND", port, out, ledger, ended, 10 * seed + 2, wishes=wishes),
            Sender("THIRD", port, out, ledger, ended, 10 * seed + 3, pause_s=1.0),
        ]
        memory = Memory(here.node, watched)
        with supervisor.watching():
            watching = _started(memory.run)
            sending = _started(*(sender.run for sender in senders))
            making = ThreadPoolExecutor(1).submit(trouble.run)
            wait([making], timeout=most_s)
            ended.set()
            making.result()  # a server that cannot be started again says nothing about the node
            _joined(sending)
            here.moody.mood = WELL
            say(f"{len(ledger.whole)} studies came whole; waiting for the last of them")
            without_end = _come_to_rest(here, ledger, sight, patience_s)
            record.settle()
            ledger.counts.update(sight.proofs())
            watched.set()
            _joined(watching)
        return Outcome(
            database=database,
            seed=seed,
            minutes=(time.monotonic() - began) / 60,
            found=count(here.nodes, here.pacs, here.moody, ledger),
            record=record,
            without_end=without_end,
            troubles=dict(trouble.counts),
            counts=dict(ledger.counts),
            memory=memory.samples,
        )


def _started(*works: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def _joined(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(timeout=300)
        if thread.is_alive():
            raise AssertionError("a sender does not come to its end: the node takes nothing more")


def _come_to_rest(here: Hospital, ledger: Ledger, sight: Sight, patience_s: float) -> list[str]:
    """Wait until the studies have an end at every node; return in words those that have none.

    What a destination refused for good is handed in again, as its administrator would.
    """
    deadline = time.monotonic() + patience_s
    requeued: set[str] = set()
    looks = [sight, *([Sight(here.second)] if here.second else [])]
    while True:
        seen = [look.states() for look in looks]
        failed = {uid for uid, state in seen[0].items() if state == "failed"} - requeued
        for uid in failed:
            ledger.count("study handed in again by requeue")
            cli("requeue", uid, "--config", here.node.config)
        requeued |= failed
        on_its_way = [
            f"{uid} is {states.get(uid)}"
            for states in seen
            for uid in {*states, *(ledger.whole if states is seen[0] else ())}
            if states.get(uid) not in ENDED
        ]
        on_its_way += [f"a delivery to {name} is not proven" for name in sight.unproven()]
        if not (failed or on_its_way) or time.monotonic() > deadline:
            return on_its_way
        time.sleep(0.5)
