"""The floor of a bench: what disk and loopback allow before any DICOM or SQL is spoken."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_FILES = 400
_MESSAGES = 2000
_PAGE = bytes(4096)


def measure(folder: Path, image: Path) -> dict[str, object]:
    """Measure the disk that holds a folder, and loopback, with the bytes of one image.

    Returns
    -------
    dict
        ``synced_per_s``: files that are written, synced, renamed and found in a synced folder,
        by the number of threads; ``loopback_per_s``: images sent and answered over one TCP
        connection.
    """
    contents = image.read_bytes()
    return {
        "synced_per_s": {n: _synced_per_s(folder, contents, n) for n in (1, 4, 8)},
        "loopback_per_s": _loopback_per_s(contents),
    }


@contextmanager
def page(folder: Path) -> Iterator[Callable[[], None]]:
    """Give what writes the same 4 KiB of a file and syncs them: the least of a durable commit."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:

        def write() -> None:
            os.pwrite(file.fileno(), _PAGE, 0)
            os.fdatasync(file.fileno())

        write()  # from then on the file keeps its size
        yield write


def _synced_per_s(root: Path, contents: bytes, threads: int) -> float:
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)

        def work(number: int) -> None:
            for count in range(_FILES // threads):
                part = folder / f"{number}-{count}.part"
                with part.open("xb", buffering=0) as file:
                    file.write(contents)
                    os.fsync(file.fileno())
                part.rename(part.with_suffix(".dcm"))
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                os.fsync(handle)
                os.close(handle)

        with ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            list(pool.map(work, range(threads)))
            return _FILES / (time.perf_counter() - started)


def _loopback_per_s(contents: bytes) -> float:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listening.accept()
        buffer = bytearray(len(contents))
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while connection.recv_into(buffer, 0, socket.MSG_WAITALL):
                connection.sendall(b"!")

    receiver = threading.Thread(target=answer)
    receiver.start()
    with listening, socket.create_connection(listening.getsockname()) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for _ in range(_MESSAGES):
            connection.sendall(contents)
            connection.recv(1)
        seconds = time.perf_counter() - started
    receiver.join()
    return _MESSAGES / seconds
