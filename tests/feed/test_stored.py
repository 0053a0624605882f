"""One thread waits for what another thread stores."""

import threading

from keisei.feed.stored import Stored


def test_a_wait_ends_when_the_iteration_is_stored() -> None:
    stored = Stored()
    stored.reached(3)
    assert stored.wait(3, 0)
    assert not stored.wait(4, 0)
    writer = threading.Timer(0.02, stored.reached, [5])
    writer.start()
    assert stored.wait(4, 10)
    writer.join()
