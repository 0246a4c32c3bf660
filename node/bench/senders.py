"""Senders of a bench: DCMTK's storescu, one process for each association."""

import resource
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node.bench.receivers import AE_TITLE
from node.errors import LumbarError, Misconfigured
from node.loopback import ENVIRONMENT, find

_LIMIT_S = 600.0


def storescu() -> str:
    """Return the path of DCMTK's storescu; pynetdicom puts another one into the PATH.

    Raises
    ------
    Misconfigured
        When DCMTK is not installed: nothing can be measured without it.
    """
    program = find("storescu")
    if program is None:
        raise Misconfigured("DCMTK's storescu is not installed: apt-get install dcmtk")
    return program


def cpu_ms() -> float:
    """Return the CPU time (ms) of all senders that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def send(port: int, shares: Sequence[Sequence[Path]], *, per_association: int) -> None:
    """Send files from several senders at once, and return when the last one is done.

    Parameters
    ----------
    port : int
    shares : sequence of sequences of Path
        The files of each sender.
    per_association : int
        How many files a sender puts into one association.

    Raises
    ------
    LumbarError
        When a sender was not told Success for everything.
    """

    def work(share: Sequence[Path]) -> None:
        for start in range(0, len(share), per_association):
            files = share[start : start + per_association]
            done = subprocess.run(  # noqa: S603 - DCMTK
                [storescu(), "-R", "-aec", AE_TITLE, "127.0.0.1", str(port), *map(str, files)],
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                check=False,
            )
            if done.returncode:
                words = done.stderr.strip()[-500:] or f"exit code {done.returncode}"
                raise LumbarError(f"a sender failed: {words}")

    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(work, shares))
