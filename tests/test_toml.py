"""TOML that we write reads back the same."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keisei.config import Settings
from keisei.toml import to_toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(min_value=0, max_value=1e300, exclude_min=True)


@st.composite
def settings(draw: st.DrawFn) -> Settings:
    """Return settings with any allowed values."""
    return Settings(
        device=draw(st.sampled_from(["auto", "cpu", "cuda:3"])),
        run={
            "root": draw(TEXT),
            "steps": draw(st.integers(0, 2**70)),
            "minutes": draw(FLOATS),
            "seed": draw(st.integers(0, 2**32 - 1)),
        },
        ppo={
            "learning_rate": draw(FLOATS),
            "gamma": draw(st.floats(0, 1, exclude_min=True)),
        },
        net={"kind": draw(TEXT)},
        compute={"compile": draw(st.booleans())},
        server={"allowed_hosts": tuple(draw(st.lists(TEXT)))},
        evaluation={"engines": draw(st.dictionaries(TEXT, TEXT, max_size=3))},
    )


@given(settings())
def test_settings_come_back_from_their_toml(kept: Settings) -> None:
    text = to_toml(kept.model_dump(mode="json"))
    assert Settings(**tomllib.loads(text)) == kept


def test_a_value_that_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="None"):
        to_toml({"a": None})


def test_notes_are_comments_behind_their_keys() -> None:
    tree = {"name": "x", "wide": "y" * 40, "ppo": {"gamma": 0.5, "clip": 0.2}}
    notes = {"name": "N.", "wide": "W.", "ppo": {"clip": "C.", "nosuch": "?"}}
    text = to_toml(tree, notes)
    assert tomllib.loads(text) == tree
    assert [line.partition("#")[2] for line in text.splitlines()] == [
        " N.",
        " W.",
        "",
        "",
        "",
        " C.",
    ]
