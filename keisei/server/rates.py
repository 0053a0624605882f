"""Limit on the rate of requests that change something. A request over the limit gets 429."""

import math
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from keisei.server.addresses import remote_address
from keisei.server.problems import problem_response
from keisei.server.security import SAFE_METHODS

BURST, A_SECOND = 500, 100.0
"""Limits for all clients together: requests in one burst, and requests per second."""
BURST_OF_ADDRESS, A_SECOND_OF_ADDRESS = 100, 20.0
"""The same limits for each address of another machine."""

ADDRESSES = 1024
"""Maximum number of addresses to remember.

The address whose last request is the oldest is forgotten first.
"""


class Bucket:
    """A token bucket: it holds at most ``burst`` tokens and gains ``rate`` tokens a second."""

    def __init__(
        self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._tokens, self._since = burst, clock()

    def take(self) -> float:
        """Take one token and return 0; without a token, return the seconds until the next token."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class AddressBuckets:
    """One bucket for each address, for at most ``ADDRESSES`` addresses."""

    def __init__(
        self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, address: str) -> float:
        """Take one token of ``address``. Return the same number as ``Bucket.take``."""
        bucket = self._buckets.pop(address, None) or Bucket(self._burst, self._rate, self._clock)
        self._buckets[address] = bucket  # moves the bucket to the end of the dict
        if len(self._buckets) > ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take()


class WriteRate:
    """Answer 429 to a request with an unsafe method if the request exceeds a limit.

    The middleware must come after the check of access. Otherwise strangers could use up the tokens.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._all = Bucket(BURST, A_SECOND)
        self._each = AddressBuckets(BURST_OF_ADDRESS, A_SECOND_OF_ADDRESS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            address = remote_address(scope)
            # An address over its own limit must not use up the tokens of all clients.
            wait = (self._each.take(address) if address else 0.0) or self._all.take()
            if wait:
                after = math.ceil(wait)
                detail = f"Too many requests that change something. Try again in {after} s."
                headers = {"Retry-After": str(after)}
                refusal = problem_response(429, detail, scope["path"], headers=headers)
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)
