"""The process that decodes (``python -m node.dicom.reading.confined``): little memory, no network.

JPEG, JPEG-LS and JPEG 2000 are decoded by C and C++ libraries, and a corrupt stream makes some of
them end their process. `decoder` starts this one and speaks to it by standard input and output: a
line of JSON asks for frames of a file; for each comes a line of JSON that describes it, then its
bytes. Native pixels need no library but numpy and are not decoded here.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, BinaryIO

from node.dicom.reading import frames
from node.errors import InvalidInstance

MEMORY = 2 << 30  # bytes of address space (rule SEC-04)
CPU_S = 60  # for one file

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # clone(2)


def main() -> None:
    """Answer requests until standard input ends, that is until the parent is done or dead."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Libraries that print must not print between the answers.
    os.dup2(2, 1)
    _confine()
    _say(answers, {"ready": True})
    for line in requests:
        used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + CPU_S
        resource.setrlimit(resource.RLIMIT_CPU, (used, resource.RLIM_INFINITY))
        _answer(json.loads(line), answers)


def _confine() -> None:
    """Give up what a decoder has no use for: memory, files to write, core dumps, the network."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where the system allows it (root, or user namespaces); a hardened service forbids it and
    # brings its own walls.
    library = ctypes.CDLL(None)
    if library.unshare(_NEW_NETWORK) != 0:
        library.unshare(_NEW_USER | _NEW_NETWORK)


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    try:
        for frame in frames.decode(Path(request["path"]), request["indices"]):
            stored = frame.astype(frame.dtype.newbyteorder("<"), copy=False)
            _say(answers, {"dtype": stored.dtype.str, "shape": stored.shape})
            answers.write(stored.tobytes())
        answers.flush()
    except InvalidInstance as error:
        _say(answers, {"error": str(error)})


def _say(answers: BinaryIO, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
