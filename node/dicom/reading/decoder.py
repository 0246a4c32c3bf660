"""Decode compressed pixels in a process of its own: when it dies, one image is lost, not the node.

A new interpreter is started rather than this one forked: this process has threads (the engine,
ONNX Runtime), and a fork would inherit their locks, files and secrets.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import structlog
from numpy.typing import NDArray

from node.errors import InvalidInstance, Misconfigured

log = structlog.get_logger()

#: Seconds for one file, whatever the decoder waits for; its CPU time has a limit of its own.
WALL_S = 120.0

_KINDS = frozenset({"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8"})
_MAX_HEAD = 4096  # bytes of a line of JSON


class Decoder:
    """A decoder process, started when it is first needed and again after it died.

    Use it as a context manager, for the images of one study: what one patient's images did to
    its memory is gone before the next. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def frames(
        self, path: Path, indices: Sequence[int], shape: tuple[int, int]
    ) -> list[NDArray[Any]]:
        """Return frames as `node.dicom.reading.frames.decode` does.

        Parameters
        ----------
        path : Path
        indices : sequence of int
            From 0, ascending.
        shape : (rows, columns)
            Nothing of another size is taken from the process.

        Raises
        ------
        InvalidInstance
            When the pixels cannot be decoded, or the process died or was ended over them.
        Misconfigured
            When the process cannot even start.
        """
        process = self._running()
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        watchdog = threading.Timer(WALL_S, end)
        watchdog.start()
        try:
            requests, answers = _pipes(process)
            ask = json.dumps({"path": str(path.resolve()), "indices": list(indices)})
            requests.write(ask.encode() + b"\n")
            requests.flush()
            return [_frame(answers, shape) for _ in indices]
        except (OSError, EOFError) as error:
            raise InvalidInstance(self._obituary(is_late=is_late.is_set())) from error
        except ValueError as error:
            self._end()  # whatever is still in the pipe belongs to nobody
            raise InvalidInstance(str(error)) from error
        finally:
            watchdog.cancel()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            # The environment may hold this node's secrets; OpenBLAS' threads hold address space.
            inherited = {k: v for k, v in os.environ.items() if not k.startswith("LUMBAR_")}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node.dicom.reading.confined"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries print what a header says
                env={**inherited, "OPENBLAS_NUM_THREADS": "1"},
            )
            if not _pipes(self._process)[1].readline(_MAX_HEAD):
                raise Misconfigured(
                    "the pixel decoder does not start: "
                    "`python -m node.dicom.reading.confined` says why"
                )
        return self._process

    def _obituary(self, *, is_late: bool) -> str:
        """Say how the process ended, and see that it has."""
        code = self._end(patience_s=1.0)
        if is_late:
            return f"the decoder was ended, it took more than {WALL_S:g} s"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        log.warning("the decoder's process died", how=how)
        return f"the decoder's process died of it ({how})"

    def _end(self, patience_s: float = 0.0) -> int:
        """End the process, if it does not end itself in time, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience_s)
        process.kill()
        for pipe in _pipes(process):
            with contextlib.suppress(OSError):
                pipe.close()
        return process.wait()


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise OSError("the decoder has no pipes")
    return process.stdin, process.stdout


def _frame(answers: IO[bytes], shape: tuple[int, int]) -> NDArray[Any]:
    """Read one frame; nothing the process says about itself is believed.

    Raises
    ------
    InvalidInstance
        What the decoder says is wrong with the image.
    EOFError
        When the process ended.
    ValueError
        When it answers anything but a frame of this shape.
    """
    line = answers.readline(_MAX_HEAD)
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    if "error" in head:
        raise InvalidInstance(str(head["error"]))
    if head["dtype"] not in _KINDS or tuple(head["shape"]) != shape:
        raise ValueError(f"the pixels have the shape {head['shape']}")
    kind = np.dtype(head["dtype"])
    size = shape[0] * shape[1] * kind.itemsize
    raw = answers.read(size)
    if len(raw) < size:
        raise EOFError
    return np.frombuffer(raw, kind).reshape(shape)
