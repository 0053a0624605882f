"""Searches that ask networks together, one batch for each network in a turn."""

from typing import Any

from fake_learner import FakeAgent

from keisei.play.searches import Searches, Thought
from keisei.search import Search, SearchOptions
from keisei.shogi import Position


def planted(simulations: int = 20) -> Search:
    search = Search(1, SearchOptions(simulations=simulations))
    search.plant_position(0, Position())
    return search


class Asked:
    """Networks that note which of them is asked, and for how many positions."""

    def __init__(self, broken: int | None = None) -> None:
        self.batches: list[tuple[int, int]] = []
        self.broken = broken

    def __call__(self, network: int, observation: Any, mask: Any) -> Any:
        if network == self.broken:
            raise ZeroDivisionError("network")
        self.batches.append((network, len(mask)))
        return FakeAgent().assess(observation, mask)


def run(searches: Searches) -> None:
    for _ in range(1000):
        if not searches.running:
            return
        searches.turn()
    raise AssertionError("a search does not end")


def test_searches_of_one_network_share_its_batches() -> None:
    asked, ends = Asked(), []
    searches = Searches(asked)
    for network, simulations in ((1, 20), (1, 20), (2, 10)):
        searches.add(Thought(planted(simulations), network, ends.append))
    run(searches)
    assert ends == [None] * 3
    assert asked.batches.count((1, 2)) == 20
    assert asked.batches.count((2, 1)) == 10
    assert len(asked.batches) == 30


def test_an_error_of_a_network_ends_its_searches_only() -> None:
    ends: dict[str, Exception | None] = {}
    searches = Searches(Asked(broken=1))
    for name, network in (("a", 1), ("b", 1), ("c", 2)):
        searches.add(
            Thought(planted(), network, lambda error, name=name: ends.__setitem__(name, error))
        )
    run(searches)
    assert isinstance(ends["a"], ZeroDivisionError)
    assert isinstance(ends["b"], ZeroDivisionError)
    assert ends["c"] is None


def test_a_search_ends_at_its_deadline_with_at_least_one_answer() -> None:
    search = planted(100_000)
    searches, ends = Searches(Asked()), []
    searches.add(Thought(search, 1, ends.append, deadline=0.0))
    run(searches)
    assert ends == [None]
    assert search.size(0)[0] == 1


def test_a_search_that_is_dropped_asks_nothing_more_and_reports_no_end() -> None:
    search, asked, ends = planted(), Asked(), []
    searches = Searches(asked)
    searches.add(Thought(search, 1, ends.append))
    searches.turn()
    searches.drop(search)
    assert not searches.running
    assert (len(asked.batches), ends) == (1, [])


def test_an_end_can_drop_another_search_of_the_same_turn() -> None:
    first, second, ends = planted(1), planted(), []
    searches = Searches(Asked())
    searches.add(Thought(first, 1, lambda error: searches.drop(second)))
    searches.add(Thought(second, 1, ends.append))
    run(searches)
    assert ends == []


def test_closing_ends_all_searches_with_the_error() -> None:
    ends: list[Exception | None] = []
    searches, error = Searches(Asked()), RuntimeError("closed")
    searches.add(Thought(planted(), 1, ends.append))
    searches.close(error)
    assert ends == [error]
    assert not searches.running
