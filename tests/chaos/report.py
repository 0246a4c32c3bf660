"""The report of a run, in Markdown and as JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.count import Found
from tests.chaos.kills import Record


@dataclass(frozen=True)
class Outcome:
    """What a run ended with.

    Attributes
    ----------
    minutes : float
    found : Found
    record : Record
        Kills, and the time until the work went on.
    without_end : list of str
        Studies that did not come to an end.
    troubles, counts : dict of what to int
        Pieces of trouble; everything else that was counted.
    memory : dict of process to list of float
        Resident memory (MB), in the order it was sampled.
    """

    database: str
    seed: int
    minutes: float
    found: Found
    record: Record
    without_end: list[str]
    troubles: dict[str, int]
    counts: dict[str, int]
    memory: dict[str, list[float]]

    @property
    def is_good(self) -> bool:
        """Nothing is lost or there twice, and everything went on."""
        return self.found.is_good and not (self.without_end or self.record.stuck)

    def as_json(self) -> dict[str, Any]:
        """Return what is known of the run."""
        return {
            "is_good": self.is_good,
            "database": self.database,
            "seed": self.seed,
            "minutes": self.minutes,
            **asdict(self.found),
            "duplicates": self.found.duplicates,
            "without_end": self.without_end,
            "stuck": self.record.stuck,
            "kills": [kill._asdict() for kill in self.record.kills],
            "resumed_s": self.record.resumed,
            "troubles": self.troubles,
            "counts": self.counts,
        }

    def markdown(self) -> str:
        """Return what happened, what was lost and how long it took to go on, as tables."""
        found = self.found
        verdict = "nothing was lost" if self.is_good else "SOMETHING WAS LOST"
        promises = {
            "processes killed with `kill -9`": len(self.record.kills),
            "instances acknowledged": found.acknowledged,
            "of these deleted after every delivery was proven, the disk being full": found.released,
            "of these lost": len(found.lost),
            "of these altered": len(found.altered),
            "of these not in the index": len(found.not_indexed),
            "studies to be analysed that came whole": found.studies,
            "of these without an end": len(self.without_end),
            "of these without their whole result at each destination": len(found.without_result),
            **{f"result sets at {name}": number for name, number in found.results.items()},
            "duplicates (different UIDs for one study and version)": found.duplicates,
            "objects at a destination that are of no result": found.foreign,
            "objects sent again under the same UID": found.repeated,
        }
        parts = [
            [f"{self.database}, seed {self.seed}, {self.minutes:.0f} minutes: **{verdict}**."],
            _table(("what", "how often"), promises.items()),
            _table(("process killed", "wanted and found", "any other moment"), self._kills()),
            _table(("what a worker's death cut off", "how often"), self._cut_off()),
            _table(("from the kill until (s)", "times", "median", "95 %", "most"), self._times()),
            _table(("trouble", "how often"), sorted(self.troubles.items())),
            _table(("what else", "how often"), sorted(self.counts.items())),
            _table(("process", "MB at first", "MB at last", "largest"), _memory(self.memory)),
            self.without_end + found.without_result + self.record.stuck,
        ]
        return "\n\n".join("\n".join(part) for part in parts if part)

    def _kills(self) -> Iterable[tuple[str, str, int]]:
        for role in sorted({kill.role for kill in self.record.kills}):
            kills = [kill for kill in self.record.kills if kill.role == role]
            exact = Counter(kill.wanted for kill in kills if kill.wanted in kill.found)
            told = ", ".join(f"{moment} {n}" for moment, n in sorted(exact.items()))
            yield role, told, len(kills) - exact.total()

    def _cut_off(self) -> Iterable[tuple[str, int]]:
        workers = [kill for kill in self.record.kills if kill.role == "worker"]
        return sorted(Counter(chapter for kill in workers for chapter in kill.cut_off).items())

    def _times(self) -> Iterable[tuple[str, int, str, str, str]]:
        for what, taken in sorted(self.record.resumed.items()):
            times = sorted(taken)
            told = (times[len(times) // 2], times[int(len(times) * 0.95)], times[-1])
            yield what, len(times), *(f"{seconds:.1f}" for seconds in told)  # type: ignore[misc]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    told = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *told] if told else []


def _memory(samples: Mapping[str, list[float]]) -> Iterable[tuple[str, str, str, str]]:
    """Yield the medians of the first and of the last fifth, and the largest."""
    for process, values in sorted(samples.items()):
        fifth = max(1, len(values) // 5)
        early, late = sorted(values[:fifth]), sorted(values[-fifth:])
        told = (early[len(early) // 2], late[len(late) // 2], max(values))
        yield process, *(f"{megabytes:.0f}" for megabytes in told)  # type: ignore[misc]
