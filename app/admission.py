"""How much work the service takes on at a time: beyond that a request is refused at once, not queued."""

from app.errors import OverloadedError


class Admission:
    """Counts the requests at work and the bytes of bodies held for them; for one event loop."""

    def __init__(self, *, max_in_flight: int, max_body_bytes: int) -> None:
        """Take the bounds: requests worked on at once, and bytes of their bodies in memory at once."""
        self.max_in_flight = max_in_flight
        self.max_body_bytes = max_body_bytes
        self.in_flight = 0
        self.body_bytes = 0
        self.stopping = False
        """Set when the process was told to stop: it answers what comes, and /readyz says so."""

    @property
    def full(self) -> bool:
        """Whether the next request would be refused."""
        return self.in_flight >= self.max_in_flight or self.body_bytes > self.max_body_bytes

    def require_room(self) -> None:
        """Raise OverloadedError if the service has all the work it takes on."""
        if self.in_flight >= self.max_in_flight:
            raise OverloadedError(
                f"{self.in_flight} requests are being worked on, which is all at once; try again shortly"
            )
        if self.body_bytes > self.max_body_bytes:
            raise OverloadedError(
                f"{self.body_bytes:,} bytes of bodies are held, which is all at once; try again shortly"
            )
