"""Parsing the lines of engines, sense and nonsense."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keisei.usi.protocol import (
    LINE_LIMIT,
    UNKNOWN_MATE,
    BestMove,
    Checkmate,
    Identity,
    Info,
    Lines,
    Message,
    Option,
    ReadyOk,
    UsiOk,
    parse,
    set_option,
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("id name Fairy-Stockfish 11.1 LB 64", Identity("name", "Fairy-Stockfish 11.1 LB 64")),
        ("id author the \x1b[31mteam", Identity("author", "the  [31mteam")),
        ("usiok", UsiOk()),
        ("readyok\r", ReadyOk()),
        ("bestmove 7g7f ponder 3c3d", BestMove("7g7f", "3c3d")),
        ("bestmove P*5e", BestMove("P*5e")),
        ("bestmove resign", BestMove("resign")),
        ("bestmove win", BestMove("win")),
        ("bestmove", BestMove("")),
        ("checkmate nomate", Checkmate((), "nomate")),
        ("checkmate G*5b 5a4a", Checkmate(("G*5b", "5a4a"))),
        (
            "info depth 7 seldepth 9 multipv 1 score cp -26 upperbound nodes 500 nps 9 time 3 pv 2g2f pass",
            Info(depth=7, nodes=500, time=3, cp=-26, pv=("2g2f", "pass"), best=False),
        ),
        ("info depth 7 multipv 1 score cp -26", Info(depth=7, cp=-26)),
        ("info depth 7 multipv 2 score cp -26", Info(depth=7, cp=-26, best=False)),
        ("info score mate 3 lowerbound", Info(mate=3, best=False)),
        ("info score mate -4", Info(mate=-4)),
        ("info score mate +", Info(mate=UNKNOWN_MATE)),
        ("info score mate -", Info(mate=-UNKNOWN_MATE)),
        ("info string score cp 5 pv", Info()),
        (
            "option name Skill Level type spin default 20 min -20 max 20",
            Option("Skill Level", "spin", "20", -20, 20),
        ),
        (
            "option name Style type combo default Very Solid var Very Solid var Normal",
            Option("Style", "combo", "Very Solid", choices=("Very Solid", "Normal")),
        ),
        ("option name Clear Hash type button", Option("Clear Hash", "button")),
        ("option name Ponder type check default false", Option("Ponder", "check", "false")),
        (
            "option name Eval File type filename default my min var file.bin",
            Option("Eval File", "filename", "my min var file.bin"),
        ),
        ("option name Log type string default <empty>", Option("Log", "string", "")),
        ("option name Piece type value type spin default 1", Option("Piece type value", "spin", "1")),
    ],
)  # fmt: skip
def test_a_line_of_the_protocol_is_parsed(line: str, message: Message) -> None:
    assert parse(line) == message


@pytest.mark.parametrize(
    "line",
    ["", "  ", "hello", "Unknown command: gameover lose", "id", "id number 3", "option name x",
     "option name x type y", "bestmovement", "checkmate", "\x00\ufffd"],
)  # fmt: skip
def test_a_line_without_meaning_gives_none(line: str) -> None:
    assert parse(line) is None


WORDS = (
    "id option info bestmove checkmate name type spin combo default min max var pv score cp mate"
)
NOISE = st.text(max_size=20) | st.sampled_from(WORDS.split()) | st.just("9" * 5000)


@given(st.lists(NOISE).map(" ".join))
def test_no_line_raises_an_error(line: str) -> None:
    parse(line)
    for word in ("option name", "info", "id", "bestmove"):
        parse(f"{word} {line}")


@pytest.mark.parametrize(
    ("line", "value", "wrong"),
    [
        ("option name L type spin default 2 min -20 max 20", "-20", None),
        ("option name L type spin default 2 min -20 max 20", "21", "from -20 to 20 (got '21')"),
        ("option name L type spin default 2 min -20 max 20", "x", "from -20 to 20 (got 'x')"),
        ("option name B type check default true", "yes", "true or false (got 'yes')"),
        ("option name C type combo default a b var a b var c", "a b", None),
        ("option name C type combo default a b var a b var c", "a", "one of a b, c (got 'a')"),
        ("option name S type string", "any thing", None),
        ("option name S type string", None, "needs a value"),
        ("option name P type button", None, None),
        ("option name P type button", "1", "takes no value"),
    ],
)
def test_an_option_says_what_is_wrong_with_a_value(
    line: str, value: str | None, wrong: str | None
) -> None:
    option = parse(line)
    assert isinstance(option, Option)
    found = option.problem_with(value)
    assert found is None if wrong is None else wrong in (found or "")


def test_the_command_that_sets_an_option_has_a_name_and_a_value() -> None:
    assert set_option("Skill Level", "-4") == "setoption name Skill Level value -4"
    assert set_option("Clear Hash", None) == "setoption name Clear Hash"
    assert set_option("Log", "") == "setoption name Log value <empty>"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_lines_do_not_depend_on_how_their_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    whole, places = Lines().feed(data + b"\n"), sorted([0, *cuts, len(data)])
    lines, found = Lines(), []
    for begin, end in pairwise(places):
        found += lines.feed(data[begin:end])
    found += lines.feed(data[places[-1] :] + b"\n")
    assert (
        found
        == whole
        == [line.decode("utf-8", "replace").removesuffix("\r") for line in data.split(b"\n")]
    )


def test_a_line_without_end_takes_bounded_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * 65_536) == []
    assert len(lines._unfinished) == LINE_LIMIT
    assert lines.feed(b"y\nusiok\n") == ["x" * LINE_LIMIT, "usiok"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bestmove\t7g7f\tponder\t3c3d", BestMove("7g7f", "3c3d")),
        (" \tbestmove \t 7g7f", BestMove("7g7f")),
        ("id\tname\tAn  engine", Identity("name", "An  engine")),
        ("info\tdepth\t5\tscore cp\t-30 \tpv\t7g7f", Info(depth=5, cp=-30, pv=("7g7f",))),
        ("usiok\t", UsiOk()),
        (
            "option\tname Hash\ttype\tspin default\t16 min 1\tmax 9",
            Option("Hash", "spin", "16", 1, 9),
        ),
    ],
)
def test_any_white_space_separates_words(line: str, message: object) -> None:
    assert parse(line) == message
