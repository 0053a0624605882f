import threading

import pytest
from fake_gui import compile_search

from keisei.shogi import Position
from keisei.usi.solving import Solving

MATE_IN_THREE = "ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"

pytestmark = pytest.mark.timeout(300)  # the first test may have to compile everything


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_search()


def test_a_mate_is_found_beside_other_work_unless_it_is_too_long() -> None:
    position = Position(MATE_IN_THREE)
    waiting = threading.Event()
    with Solving(position, memory_mib=1, most=None) as solving:
        for _ in range(5000):
            if solving.mate:
                break
            waiting.wait(0.01)
    for move in solving.mate:
        position.push(move)
    assert (len(solving.mate), position.legal_moves()) == (3, [])
    with Solving(Position(MATE_IN_THREE), memory_mib=1, most=1) as solving:
        waiting.wait(0.1)
    assert solving.mate == ()


def test_the_end_of_the_block_stops_the_thread() -> None:
    with Solving(Position(), memory_mib=1, most=None) as solving:
        pass
    solving._thread.join(10)
    assert not solving._thread.is_alive()
