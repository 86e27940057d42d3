"""How often one caller may ask: a token bucket for each, in bounded memory.

A bucket holds a minute's worth of requests and fills evenly, so that a page may load its pictures all at
once and nobody may go on like that. The buckets are this process's own: of several workers, each counts for
itself.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_CALLERS = 10_000
"""Buckets kept; beyond, the one that was touched longest ago is forgotten, which is to say full again."""

IPV6_HOUSEHOLD_BITS = 64
"""One subscriber has this much of IPv6 to draw addresses from."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may still do; wait_s is 0 where the request that asked may pass."""

    limit: int
    remaining: int
    full_in_s: int
    wait_s: int


class RateLimiter:
    """The buckets of this process."""

    def __init__(
        self, *, most_callers: int = MOST_CALLERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the number of buckets to keep, and what tells the time in seconds."""
        self._most_callers = most_callers
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str, per_minute: int, *, cost: int = 1) -> Allowance:
        """Take a request out of a caller's bucket, if there is one in it; a cost of 0 only looks."""
        now = self._clock()
        tokens, at = self._buckets.get(caller, (float(per_minute), now))
        tokens = min(per_minute, tokens + (now - at) * per_minute / 60)
        passes = tokens >= 1
        if passes:
            tokens -= cost
        if cost or caller in self._buckets:
            self._buckets[caller] = (tokens, now)
            self._buckets.move_to_end(caller)
        while len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)
        return Allowance(
            limit=per_minute,
            remaining=int(tokens),
            full_in_s=math.ceil((per_minute - tokens) * 60 / per_minute),
            wait_s=0 if passes else math.ceil((1 - tokens) * 60 / per_minute),
        )


def household(address: str) -> str:
    """Return what counts as one address: an IPv4 address itself, of an IPv6 address its /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip.packed, IPV6_HOUSEHOLD_BITS), strict=False))
    return str(ip)
