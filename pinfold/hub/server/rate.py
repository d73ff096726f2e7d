"""How fast a user may write to what belongs to another: a program that fills a discussion has to wait soon."""

import math
import threading
import time
from collections.abc import Callable

AT_ONCE = 30  # writes that a user may make one after the other
EVERY = 10.0  # seconds after which there is one more
REMEMBERED = 10_000  # users


class Rate:
    """The writes that each user has left. A server that is started again has forgotten them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self._used: dict[str, tuple[float, float]] = {}  # user: (writes used up, when)
        self._lock = threading.Lock()

    def take(self, user: str) -> int:
        """Count a write; or say, in whole seconds, how long until there is one again."""
        with self._lock:
            now = self.clock()
            used, when = self._used.pop(user, (0.0, now))
            used = max(used - (now - when) / EVERY, 0.0)
            if has_one := used + 1 <= AT_ONCE:
                used += 1
            self._used[user] = (used, now)  # the last written is the last in the dictionary
            while len(self._used) > REMEMBERED:
                del self._used[next(iter(self._used))]
            return 0 if has_one else max(math.ceil((used + 1 - AT_ONCE) * EVERY), 1)
