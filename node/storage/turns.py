"""Whose turn it is: the number by which the engine orders the studies that wait.

The engine takes the smallest number first, of equal ones the older. Each priority has a range of
numbers. Within it the sources take turns (start-time fair queueing): a source's next study stands
one behind its last that waits, or beside the first of all when none of its own waits. So two
hundred studies of one source and a single one of another share the worker as if each source had
a queue of its own. When nothing waits, counting begins anew.
"""

from typing import Literal

from sqlalchemy import select

from node.storage.engine import Transaction
from node.storage.tables import studies

Priority = Literal["stat", "routine", "backfill"]

#: Priority -> its first number; the engine's largest is 2,147,483,647.
FIRST: dict[Priority, int] = {"stat": 1, "routine": 500_000_001, "backfill": 1_000_000_001}
_RANGE = 500_000_000


def next_turn(transaction: Transaction, source: str, priority: Priority) -> int:
    """Return the number for a study that is queued in this transaction.

    Parameters
    ----------
    transaction : Transaction
    source : str
        Whose study it is.
    priority : {"stat", "routine", "backfill"}
    """
    first = FIRST[priority]
    turn = studies.c.turn
    waiting = select(turn).where(
        studies.c.state == "queued", turn.between(first, first + _RANGE - 1)
    )
    ahead = transaction.scalar(waiting.order_by(turn).limit(1))
    own = transaction.scalar(
        waiting.where(studies.c.source == source).order_by(turn.desc()).limit(1)
    )
    if own is not None:
        return int(own) + 1
    return first if ahead is None else int(ahead)
