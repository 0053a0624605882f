"""What the C heap holds."""

import pytest

from keisei.nets.memory import heap_bytes


@pytest.mark.skipif(heap_bytes() == 0, reason="only glibc since 2.33 can tell")
def test_the_heap_in_use_is_what_was_taken_and_not_given_back() -> None:
    before = heap_bytes()
    small = [bytes(2000) for _ in range(5000)]  # each from malloc, together 10 MB
    large = bytes(10_000_000)
    taken = heap_bytes()
    assert 20_000_000 <= taken - before < 22_000_000
    del small[::2], large
    assert 5_000_000 <= heap_bytes() - before < 6_000_000
