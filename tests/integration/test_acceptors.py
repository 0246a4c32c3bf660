"""Several acceptors on one port: killed, counted, limited and stopped as if they were one."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from node.bench.usage import memory_mb
from tests.builders import mr_image, mr_study, part10, uid, write_all
from tests.raw_sender import EXPLICIT, MR, RJ, RawSender, request
from tests.receiving import DCMTK_ENVIRONMENT, Node, dataset, listening, listening_process
from tests.waiting import wait_for


@contextmanager
def several(root: Path, count: int = 2, max_associations: int = 20) -> Iterator[Node]:
    """Run a listener with acceptors of its own, all of them up."""
    with listening(root, processes=count, max_associations=max_associations) as node:
        wait_for(lambda: all_up(node, count), seconds=60, what="the acceptors")
        yield node


def all_up(node: Node, count: int) -> bool:
    """Tell whether every acceptor serves: each holds one of so many open connections."""
    if len(node.listener.acceptors) < count:
        return False
    with ExitStack() as stack:
        for _ in range(4 * count):
            sender = stack.enter_context(RawSender(node.port))
            sender.associate()
        return all(threads_of(pid) > 3 for pid in node.listener.acceptors)


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def image(number: int, size: int = 8) -> tuple[str, bytes]:
    made = mr_image("1", number=number, size=size)
    return str(made.SOPInstanceUID), dataset(part10(made))


def test_acceptors_share_the_books(tmp_path: Path) -> None:
    """Counts, open associations, the limit and the rows are those of all acceptors together."""
    study = uid("study", "1")
    with several(tmp_path, max_associations=8) as node, ExitStack() as stack:
        senders = [stack.enter_context(RawSender(node.port)) for _ in range(8)]
        for number, sender in enumerate(senders, 1):
            sender.associate()
            assert sender.store(*image(number)) == 0
        wait_for(lambda: node.listener.open_associations(study) == 8, what="eight associations")
        with RawSender(node.port) as late:
            late.send(request((1, MR, EXPLICIT)))
            assert late.receive()[0] == RJ
        for sender in senders:
            sender.release()
        assert node.listener.open_associations(study) == 0
        assert node.listener.counts == {"new": 8}
        assert len(node.index.instances(study)) == 8


def test_a_killed_acceptor_loses_nothing_and_comes_back(tmp_path: Path) -> None:
    """Kill -9 in the middle of sending: what was acknowledged is there, the others go on."""
    study = uid("study", "1")
    acknowledged: list[bytes] = []
    lock = threading.Lock()

    def work(port: int, first: int) -> None:
        with RawSender(port) as sender:
            sender.associate()
            for number in range(first, first + 60):
                name, body = image(number)
                try:
                    assert sender.store(name, body) == 0
                except (AssertionError, OSError):
                    return  # the connection has ended
                with lock:
                    acknowledged.append(body)

    with several(tmp_path) as node:
        victim = node.listener.acceptors[0]
        starts = range(1, 481, 60)
        senders = [threading.Thread(target=work, args=(node.port, first)) for first in starts]
        for sender in senders:
            sender.start()
        wait_for(lambda: len(acknowledged) > 40, what="some images", every=0.005)
        os.kill(victim, signal.SIGKILL)
        for sender in senders:
            sender.join(60)
        wait_for(lambda: node.listener.open_associations(study) == 0, what="the books")
        assert 40 < len(acknowledged) < 480
        assert set(acknowledged) <= set(node.datasets())
        assert len(node.index.instances(study)) >= len(acknowledged)
        wait_for(lambda: all_up(node, 2), seconds=60, what="another acceptor")
        assert victim not in node.listener.acceptors


def test_dcmtk_senders_lose_nothing_on_several_acceptors(tmp_path: Path) -> None:
    """Four storescu processes at once: every image is there once, byte for byte."""
    paths = write_all(list(mr_study(slices=10, size=64)), tmp_path / "in")
    with several(tmp_path) as node:
        command = ["/usr/bin/storescu", "-aec", "LUMBAR", "127.0.0.1", str(node.port)]
        senders = [
            subprocess.Popen([*command, *paths[start : start + 15]], env=DCMTK_ENVIRONMENT)
            for start in (0, 5, 10, 15)
        ]
        assert [sender.wait(timeout=60) for sender in senders] == [0, 0, 0, 0]
        assert node.datasets() == sorted(dataset(path.read_bytes()) for path in paths)
        assert node.listener.counts == {"new": 30, "duplicate": 30}


def test_acceptors_end_with_their_listener(tmp_path: Path) -> None:
    """None outlives a listener that stops, nor one that is killed."""
    with several(tmp_path / "stopped") as node:
        acceptors = node.listener.acceptors
        with pytest.raises(AssertionError, match="still there"):
            none_left(acceptors, seconds=0.1)
    none_left(acceptors)
    with listening_process(tmp_path / "killed") as (process, _):
        children = wait_for(lambda: children_of(process.pid), what="the acceptors")
        process.send_signal(signal.SIGKILL)
        none_left(children)


def none_left(pids: tuple[int, ...], seconds: float = 20) -> None:
    """Wait until processes have ended."""
    wait_for(lambda: not any(map(is_alive, pids)), seconds=seconds, what="them: still there")


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> tuple[int, ...]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return tuple(int(child) for task in tasks for child in task.read_text().split())


def test_memory_stays_flat(tmp_path: Path) -> None:
    """After the first images an acceptor's memory does not grow with those that follow."""
    with several(tmp_path, 1) as node, RawSender(node.port) as sender:
        (pid,) = node.listener.acceptors
        sender.associate()
        name, body = image(1, size=256)
        sizes = []
        for _ in range(4):
            for _ in range(150):
                assert sender.store(name, body) == 0
            sizes.append(memory_mb(pid))
        sender.release()
    assert sizes[-1] < 1.1 * sizes[0]
