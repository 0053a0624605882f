"""Tree search with a network: many games at once, one batch of positions at a time."""

from keisei.search.options import SearchOptions
from keisei.search.search import Leaves, Line, Search, warm_up

__all__ = ["Leaves", "Line", "Search", "SearchOptions", "warm_up"]
