"""The interface between the server and a run: all implementations have all of it."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from keisei import Keisei, Settings
from keisei.config import Server
from keisei.server.source import Reader, Source
from keisei.store import RunReader
from keisei.testing import FakeReader, FakeRun
from keisei.watch.run import WatchedRun

IMPLEMENTATIONS = [
    (Source, Keisei),
    (Source, FakeRun),
    (Source, WatchedRun),
    (Reader, RunReader),
    (Reader, FakeReader),
]


def members(interface: type, kind: Any) -> list[str]:
    """Return the public members of this kind that a protocol lists."""
    return [name for name, member in vars(interface).items() if name[0] != "_" and kind(member)]


def parameters(method: Any) -> list[tuple[str, Any, Any, str]]:
    """Return name, kind, default and type of each parameter."""
    return [
        (item.name, item.kind, item.default, inspect.formatannotation(item.annotation).strip("'"))
        for item in inspect.signature(method).parameters.values()
    ]


def last_names(found: list[tuple[str, Any, Any, str]]) -> list[tuple[str, Any, Any, str]]:
    """Leave out the module of a type that has no other text: it may be imported or quoted."""
    return [(*rest, type.rpartition(".")[2] if "[" not in type else type) for *rest, type in found]


@pytest.mark.parametrize(("interface", "implementation"), IMPLEMENTATIONS)
def test_every_method_has_the_signature_of_the_interface(
    interface: type, implementation: type
) -> None:
    methods = members(interface, inspect.isfunction)
    assert methods
    for name in methods:
        declared, defined = getattr(interface, name), getattr(implementation, name)
        assert inspect.iscoroutinefunction(defined) == inspect.iscoroutinefunction(declared), name
        assert last_names(parameters(defined)) == last_names(parameters(declared)), name


def test_every_property_of_the_interface_is_there(tmp_path: Path) -> None:
    for interface, made in (
        (Source, Keisei(Settings())),
        (Source, FakeRun()),
        (Source, WatchedRun(tmp_path, Server())),
        (Reader, RunReader(tmp_path)),
        (Reader, FakeReader()),
    ):
        properties = members(interface, lambda member: isinstance(member, property))
        assert properties
        present = {*vars(made), *dir(type(made))}  # `hasattr` would call those of a closed run
        assert [name for name in properties if name not in present] == [], type(made)
