"""Options behind a network's name: ``RUN?simulations=64``."""

from typing import Any

import pytest

from keisei.evaluation.network_options import NetworkOptions, split_options
from keisei.evaluation.spec import EvaluationSpec
from keisei.match_rules import Choice, MatchRules
from keisei.store.matches import player_kind


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", NetworkOptions()),
        ("simulations=64", NetworkOptions(64)),
        ("temperature=0.5&mate=off", NetworkOptions(temperature=0.5, mate=False)),
        ("simulations=400&mate=on", NetworkOptions(400)),
        ("value=on", NetworkOptions(value=True)),
    ],
)
def test_options_are_read_and_written(text: str, options: NetworkOptions) -> None:
    assert NetworkOptions.parse(text) == options
    assert NetworkOptions.parse(str(options)) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simulation=64", "'simulation' is not an option of a network, did you mean simulations?"),
        ("simulations=many", "simulations: a whole number from 0 to 100000 (got 'many')"),
        ("simulations=-1", "simulations: 0 to 100000 (got -1)"),
        ("temperature=0", "temperature: 0.01 to 100 (got 0.0)"),
        ("mate=1", "mate: on or off (got '1')"),
        ("mate=on&mate=off", "mate is given twice"),
        ("value=on&simulations=8", "value: not allowed with simulations or temperature"),
    ],
)
def test_wrong_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        NetworkOptions.parse(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("player", "parts"),
    [
        ("runs/a?simulations=64", ("runs/a", "simulations=64")),
        ("runs/a", ("runs/a", "")),
        ("what?/run", ("what?/run", "")),
        ("usi:engine?nodes=500", ("usi:engine?nodes=500", "")),
    ],
)
def test_options_are_split_from_the_name(player: str, parts: tuple[str, str]) -> None:
    assert split_options(player) == parts


def test_an_evaluation_refuses_wrong_options_of_its_players() -> None:
    with pytest.raises(ValueError, match="simulations: a whole number"):
        EvaluationSpec(opponents=("best?simulations=x",))
    with pytest.raises(ValueError, match="random is not a network, so it has no options"):
        EvaluationSpec(opponents=("random?simulations=64",))


def test_options_go_before_the_rules_of_the_match() -> None:
    rules = MatchRules(greedy=True, mates=3)
    assert NetworkOptions().choice(rules) == Choice(True, 1.0)
    assert NetworkOptions(temperature=0.5).choice(rules) == Choice(False, 0.5)
    assert NetworkOptions().mates(rules) == 3
    assert NetworkOptions(mate=False).mates(rules) == 0


def test_the_style_tells_a_network_from_others_of_the_same_weights() -> None:
    assert NetworkOptions().style(MatchRules()) == " mates=1"
    assert NetworkOptions().style(MatchRules(greedy=True)) == " greedy mates=1"
    assert NetworkOptions(64).style(MatchRules(greedy=True)) == " simulations=64 greedy mates=1"
    assert NetworkOptions().style(MatchRules(temperature=0.5, mates=3)) == " T=0.5 mates=3"
    assert (
        NetworkOptions(64, temperature=2.0, mate=False).style(MatchRules()) == " simulations=64 T=2"
    )
    assert NetworkOptions(value=True).style(MatchRules()) == " value mates=1"


def test_a_network_that_looks_for_no_mates_has_the_name_of_earlier_versions() -> None:
    assert NetworkOptions().style(MatchRules(mates=0)) == ""
    assert NetworkOptions().style(MatchRules(mates=0, greedy=True)) == " greedy"
    assert NetworkOptions().style(MatchRules(mates=0, temperature=0.5)) == " T=0.5"


@pytest.mark.parametrize("mates", [0, 1, 3])
@pytest.mark.parametrize("simulations", [0, 64])
@pytest.mark.parametrize("how", [{}, {"greedy": True}, {"temperature": 0.5}])
def test_every_style_is_known_as_a_networks(
    mates: Any, simulations: int, how: dict[str, Any]
) -> None:
    style = NetworkOptions(simulations).style(MatchRules(mates=mates, **how))
    assert player_kind(f"run@100{style}") == "network"
    assert player_kind(f"engine{style}") == "engine"
