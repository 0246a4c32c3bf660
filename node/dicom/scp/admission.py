"""Who may open an association: AE titles, where they come from, how many, how often.

A refusal is an A-ASSOCIATE-RJ (PS3.8 9.3.4) with the fields of its table, and one log line that
names the setting to change when the peer should have been let in.
"""

import ipaddress
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import NamedTuple

from node.config import Listen, Source

_EVERY_OTHER = "*"  # in [[sources]]: each AE title without an entry of its own
_WINDOW_S = 60.0


class Refusal(NamedTuple):
    """Why an association is refused; the numbers are those of PS3.8 Table 9-21."""

    result: int
    source: int
    reason: int
    why: str


def _unknown_caller(why: str) -> Refusal:
    return Refusal(1, 1, 3, why)  # permanent, service user, calling AE title not recognised


class Gate:
    """Decides about each request for an association; safe to use from several threads.

    Parameters
    ----------
    settings : config.Listen
    sources : sequence of config.Source
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(
        self,
        settings: Listen,
        sources: Sequence[Source] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._networks = {
            source.ae_title: [ipaddress.ip_network(text) for text in source.addresses]
            for source in sources
            if source.addresses
        }
        self._listed = {*settings.calling_ae, *self._networks}  # nobody listed: everybody may
        self._clock = clock
        self._lock = Lock()
        self._inside: dict[Hashable, str] = {}  # association -> address
        self._recent: dict[str, deque[float]] = {}  # address -> times of its requests

    def enter(self, key: Hashable, calling: str, called: str, address: str) -> Refusal | None:
        """Let an association in, or say why not.

        Parameters
        ----------
        key : hashable
            Names the association until `leave`.
        calling, called : str
            AE titles of the request.
        address : str
            IP address of the peer.
        """
        with self._lock:
            refusal = self._wrong_peer(calling, called, address) or self._too_many(address)
            if refusal is None:
                self._inside[key] = address
            return refusal

    def leave(self, key: Hashable) -> None:
        """Free the place of an association; one that has none changes nothing."""
        with self._lock:
            self._inside.pop(key, None)

    def _wrong_peer(self, calling: str, called: str, address: str) -> Refusal | None:
        settings = self._settings
        if settings.require_called_ae and called != settings.ae_title:
            why = (
                f"it calls {called!r}, this node is {settings.ae_title!r}: correct the AE title "
                "at the sender, or set listen.ae_title or listen.require_called_ae = false"
            )
            return Refusal(1, 1, 7, why)  # called AE title not recognised
        if self._listed and not {calling, _EVERY_OTHER} & self._listed:
            return _unknown_caller(
                f"AE title {calling!r} is not listed: "
                "add it to listen.calling_ae, or give it addresses in [[sources]]"
            )
        networks = self._networks.get(calling, self._networks.get(_EVERY_OTHER, []))
        if networks and not any(_address(address) in network for network in networks):
            return _unknown_caller(
                f"AE title {calling!r} may not come from {address}: "
                "add the address to its [[sources]] addresses"
            )
        return None

    def _too_many(self, address: str) -> Refusal | None:
        settings = self._settings
        inside = sum(other == address for other in self._inside.values())
        if settings.max_per_address and inside >= settings.max_per_address:
            why = f"{inside} associations of {address} are open: listen.max_per_address"
            return Refusal(2, 3, 2, why)  # transient, presentation layer, local limit exceeded
        if settings.max_per_minute and self._requests(address) > settings.max_per_minute:
            why = f"{address} opens too many associations in a minute: listen.max_per_minute"
            return Refusal(2, 3, 1, why)  # transient, presentation layer, temporary congestion
        return None

    def _requests(self, address: str) -> int:
        """Count this request with those of the last minute."""
        now = self._clock()
        for known in list(self._recent):
            times = self._recent[known]
            while times and times[0] <= now - _WINDOW_S:
                times.popleft()
            if not times:
                del self._recent[known]
        times = self._recent.setdefault(address, deque(maxlen=self._settings.max_per_minute + 1))
        times.append(now)
        return len(times)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an IP address; an IPv4 peer of an IPv6 socket counts as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
