"""What the bench reads from /proc is what a process tree really uses."""

import subprocess
import sys

from node.bench import usage
from tests.waiting import wait_for

CHILD = (
    "import subprocess, sys\n"
    "load = 'held = bytes(1) * (96 << 20); sum(range(40_000_000)); input()'\n"
    "subprocess.run([sys.executable, '-c', load], stdin=sys.stdin)\n"
    "input()\n"
)


def test_a_tree_counts_its_grandchildren_alive_or_ended() -> None:
    """Memory of a living grandchild counts; its CPU time counts before and after its end."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        pid = process.pid
        with usage.PeakMemory(pid) as peak:
            wait_for(lambda: usage.memory_mb(pid) > 96, what="the memory")
            wait_for(lambda: usage.cpu_ms(pid) > 150, what="the CPU time")
            assert len(usage.tree(pid)) == 2
            process.stdin.write(b"\n")
            process.stdin.flush()
            wait_for(lambda: len(usage.tree(pid)) == 1, what="the end of the grandchild")
        assert peak.mb > 96
        assert usage.memory_mb(pid) < 96
        assert usage.cpu_ms(pid) > 150
        process.stdin.write(b"\n")
        process.stdin.flush()
