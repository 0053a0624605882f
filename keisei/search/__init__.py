"""Tree search with a network: many games at once, one batch of positions at a time."""

from keisei.search.found import Leaves, Line
from keisei.search.options import SearchOptions
from keisei.search.search import Search, warm_up

__all__ = ["Leaves", "Line", "Search", "SearchOptions", "warm_up"]
