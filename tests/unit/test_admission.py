"""Who is let in, refused with which numbers of PS3.8 Table 9-21, and what the log line says."""

import pytest

from node.config import Listen, Source
from node.dicom.scp.admission import Gate

HERE = "10.1.2.3"


def numbers(
    gate: Gate, calling: str = "MR1", called: str = "LUMBAR", address: str = HERE
) -> object:
    """Return the three numbers of a refusal, or None."""
    refusal = gate.enter(object(), calling, called, address)
    return refusal and refusal[:3]


@pytest.mark.parametrize(
    ("calling_ae", "sources", "calling", "address", "expected"),
    [
        ((), [], "ANY", HERE, None),
        (("MR1",), [], "MR1", HERE, None),
        (("MR1",), [], "MR2", HERE, (1, 1, 3)),
        ((), [Source(ae_title="MR1")], "MR2", HERE, None),
        ((), [Source(ae_title="MR1", addresses=("10.1.2.0/24",))], "MR1", HERE, None),
        ((), [Source(ae_title="MR1", addresses=("10.1.2.3",))], "MR1", HERE, None),
        ((), [Source(ae_title="MR1", addresses=("10.1.2.0/24",))], "MR1", "10.1.3.1", (1, 1, 3)),
        ((), [Source(ae_title="MR1", addresses=("10.1.2.0/24",))], "MR2", HERE, (1, 1, 3)),
        (("MR2",), [Source(ae_title="MR1", addresses=("10.1.2.0/24",))], "MR2", "10.9.9.9", None),
        ((), [Source(ae_title="*", addresses=("10.0.0.0/8",))], "ANY", HERE, None),
        ((), [Source(ae_title="*", addresses=("10.0.0.0/8",))], "ANY", "192.0.2.1", (1, 1, 3)),
        ((), [Source(ae_title="MR1", addresses=("10.1.2.0/24",))], "MR1", "::ffff:10.1.2.3", None),
        ((), [Source(ae_title="MR1", addresses=("fe80::/10",))], "MR1", "fe80::1%eth0", None),
        ((), [Source(ae_title="MR1", addresses=("fe80::/10",))], "MR1", HERE, (1, 1, 3)),
    ],
)
def test_titles_and_addresses(
    calling_ae: tuple[str, ...],
    sources: list[Source],
    calling: str,
    address: str,
    expected: object,
) -> None:
    """One address list closes the door to every title that is not listed."""
    gate = Gate(Listen(calling_ae=calling_ae), sources)
    assert numbers(gate, calling, address=address) == expected


def test_a_wrong_called_title_names_what_to_change() -> None:
    """Refused as not recognised; both the sender's and our setting are named."""
    refusal = Gate(Listen()).enter(1, "MR1", "WRONG", HERE)
    assert refusal is not None
    assert refusal[:3] == (1, 1, 7)
    assert "listen.ae_title" in refusal.why
    assert numbers(Gate(Listen(require_called_ae=False)), called="WRONG") is None


def test_associations_at_once_are_limited_by_address() -> None:
    """One too many is refused for now; another address is not affected; a place comes back."""
    gate = Gate(Listen(max_per_address=2))
    assert gate.enter("a", "MR1", "LUMBAR", HERE) is None
    assert gate.enter("b", "MR1", "LUMBAR", HERE) is None
    assert numbers(gate) == (2, 3, 2)
    assert numbers(gate, address="10.1.2.4") is None
    gate.leave("a")
    gate.leave("a")
    assert numbers(gate) is None


def test_new_associations_in_a_minute_are_limited_by_address() -> None:
    """The window slides; who keeps hammering stays out until it pauses."""
    now = [0.0]
    gate = Gate(Listen(max_per_minute=3), clock=lambda: now[0])
    told = []
    for now[0] in (0, 10, 20, 30, 59, 120):
        told.append(numbers(gate))
        gate.leave(now[0])
    assert told == [None, None, None, (2, 3, 1), (2, 3, 1), None]
    assert numbers(gate, address="10.1.2.4") is None
