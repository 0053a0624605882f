import threading

from keisei.usi.limits import Limits
from keisei.usi.options import Options
from keisei.usi.turn import Turn


def turn(words: str) -> Turn:
    return Turn(Limits.parse(words.split()), ["startpos"], Options())


def test_an_endless_turn_ends_by_stop_and_ponder_also_by_ponderhit() -> None:
    analysis, guess, game = turn("infinite"), turn("ponder btime 1000"), turn("btime 1000")
    assert (analysis.endless, guess.endless, game.endless) == (True, True, False)
    analysis.ponderhit([])
    guess.ponderhit([])
    assert (analysis.endless, guess.endless) == (True, False)
    analysis.stop()
    assert not analysis.endless
    assert (analysis.is_analysis, guess.is_analysis, game.is_analysis) == (True, False, False)


def test_the_clock_starts_at_ponderhit_with_the_times_that_it_tells() -> None:
    guess = turn("ponder btime 1000 wtime 2000 nodes 5")
    begun = guess.clock_began
    guess.ponderhit(["btime", "900", "wtime", "1800", "byoyomi", "7"])
    assert guess.clock_began >= begun
    told = guess.limits
    assert (told.btime, told.wtime, told.byoyomi, told.nodes) == (900, 1800, 7, 5)
    silent = turn("ponder btime 1000")
    silent.ponderhit([])
    assert silent.limits.btime == 1000


def test_waiting_ends_when_the_move_is_wanted() -> None:
    for act in (Turn.stop, Turn.hang_up, lambda guess: guess.ponderhit([])):
        guess = turn("ponder")
        waiting = threading.Thread(target=guess.wait)
        waiting.start()
        act(guess)
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_gui_that_hangs_up_ends_only_what_would_never_end() -> None:
    game = turn("nodes 5")
    game.hang_up()
    assert not game.stopped
