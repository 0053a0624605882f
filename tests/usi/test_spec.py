"""Engine specifications as text."""

import pytest

from keisei.usi import EngineSpec, EngineSpecError


def test_a_spec_holds_path_limits_and_options() -> None:
    spec = EngineSpec.parse("usi:/usr/games/fairy-stockfish?nodes=500&Skill Level=-4")
    assert spec.path == "/usr/games/fairy-stockfish"
    assert spec.options == (("Skill Level", "-4"),)
    assert (spec.go, spec.seconds) == ("go nodes 500", None)


@pytest.mark.parametrize(
    ("query", "go", "seconds"),
    [
        ("depth=3", "go depth 3", None),
        ("movetime=250", "go movetime 250", 0.25),
        ("byoyomi=300", "go btime 0 wtime 0 byoyomi 300", 0.3),
        ("nodes=5&byoyomi=300", "go btime 0 wtime 0 byoyomi 300 nodes 5", 0.3),
    ],
)
def test_limits_become_the_go_command_and_seconds(
    query: str, go: str, seconds: float | None
) -> None:
    spec = EngineSpec.parse(f"usi:engine?{query}")
    assert (spec.go, spec.seconds) == (go, seconds)


def test_every_name_that_is_no_limit_is_an_option() -> None:
    spec = EngineSpec.parse(
        "usi:e?nodes=5&option.nodes=7&Clear Hash&Log=&Book%20File=/a%26b=c&Threads=1"
    )
    assert spec.limits == (("nodes", 5),)
    assert spec.options == (
        ("nodes", "7"),
        ("Clear Hash", None),
        ("Log", ""),
        ("Book File", "/a&b=c"),
        ("Threads", "1"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/usr/games/x?nodes=5", "write an engine as usi:PATH?nodes=500 (got '/usr/games/x?nodes=5')"),
        ("usi:?nodes=5", "no valid path"),
        ("usi:a\nb?nodes=5", "no valid path"),
        ("usi:x", "needs one of nodes, depth, movetime, byoyomi"),
        ("usi:x?Threads=1", "needs one of nodes, depth, movetime, byoyomi"),
        ("usi:x?nodes=0", "nodes: must be a whole number from 1 to 1000000000000 (got '0')"),
        ("usi:x?nodes", "nodes: must be a whole number"),
        ("usi:x?nodes=" + "9" * 5000, "nodes: must be a whole number"),
        ("usi:x?nodes=²", "option.nodes"),
        ("usi:x?nodes=5&nodes=6", "nodes is given twice"),
        ("usi:x?nodes=5&Hash=6&hash=7", "hash is given twice"),
        ("usi:x?nodes=5&=7", "'=7' has no name"),
        ("usi:x?nodes=5&Hash=6%0Aquit", "'Hash=6%0Aquit' contains characters"),
        ("usi:x?nodes=5&Ha\x00sh=6", "contains characters"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_that_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(EngineSpecError) as caught:
        EngineSpec.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
