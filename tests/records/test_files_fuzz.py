"""Any bytes give games or one-line errors, in a time that grows linearly with their size."""

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keisei.records import GameRecord, RecordError, read_games
from keisei.records.files import FORMATS

KIF = """#KIF version=2.0
手合割：平手
先手：甲
後手の持駒：なし
手数----指手---------消費時間--
   1 ７六歩(77)   ( 0:16/00:00:16)
*comment
&mark
   2 ３四歩(33)   ( 0:00/00:00:00)+
   3 ２二角成(88)
   4 同　銀(31)
   5 ４五角打
   6 投了
まで5手で先手の勝ち
変化：5手
   5 ２六歩(27)
手合割：六枚落ち
   1 ４二玉(51)
"""
DIAGRAM = (
    """後手の持駒：飛二　歩十八
| ・ ・ ・ ・v玉 ・ ・ ・ ・|一
| ・ ・v龍 ・ ・ ・ ・ ・ ・|二
"""
    + "| ・ ・ ・ ・ ・ ・ ・ ・ ・|\n" * 6
    + """| ・ ・ ・ ・ 玉 ・ ・ ・ ・|九
手数＝1 ▲５九玉 まで
後手番
△６二龍 ▲４九玉
まで2手で中断
"""
)
CSA = """V2.2
N+a
PI82HI
P-00AL
-
-5142OU,T1,'c
+7776FU
%TORYO
/
P1-KY * -OU
P+59OU00KI
+
+5958OU
%+ILLEGAL_ACTION
"""
USI = """# c
startpos moves 7g7f 3c3d 8h2b+ 3a2b B*4e resign
position sfen 4k4/9/4P4/9/9/9/9/9/4K4 b G 1 moves G*5b
7g7f max_moves
"""
VALID = [text.encode(codec) for text in (KIF, DIAGRAM, CSA, USI) for codec in ("utf-8", "cp932")]
PIECES = [
    piece.encode()
    for piece in (
        "\n", "\r", "同", "打", "成", "不成", "(77)", "変化：", "まで", "手合割：", "|", "▲", "△", "+", "-",
        "%", "P1", "AL", "00", "/", ",", "'", "#", "moves", "sfen", "９", "\u2028", "\x00", "1 ", "右", "　",
    )
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a valid file with parts cut out, repeated, or inserted."""
    data = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(0, 6))):
        begin, length = draw(st.integers(0, len(data))), draw(st.integers(0, 30))
        put = draw(st.one_of(st.binary(max_size=6), st.sampled_from(PIECES)))
        again = data[begin : begin + length] * draw(st.integers(0, 2))
        data = data[:begin] + put + again + data[begin + length :]
    return data


def assert_games_or_one_line_errors(ending: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"a{ending}")
        file.write_bytes(data)
        for found in read_games(file):
            assert isinstance(found, GameRecord | RecordError)
            if isinstance(found, RecordError):
                assert len(str(found).splitlines()) == 1
                assert str(found).startswith(f"{file}:")
                assert len(str(found)) < 1_000


inputs = given(
    ending=st.sampled_from(sorted(FORMATS)), data=st.one_of(st.binary(max_size=300), damaged())
)
health = [HealthCheck.too_slow, HealthCheck.data_too_large]


@inputs
@settings(max_examples=300, deadline=None, suppress_health_check=health)
def test_any_bytes_give_games_or_one_line_errors(ending: str, data: bytes) -> None:
    assert_games_or_one_line_errors(ending, data)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@inputs
@settings(max_examples=10_000, deadline=None, suppress_health_check=health)
def test_ten_thousand_inputs_give_games_or_one_line_errors(ending: str, data: bytes) -> None:
    assert_games_or_one_line_errors(ending, data)


CYCLE_KIF = ["４八金(49)", "６二金(61)", "４九金(48)", "６一金(62)"]
CYCLE_KI2 = ["▲４八金", "△６二金", "▲４九金", "△６一金"]
CYCLE_CSA = ["+4948KI", "-6162KI", "+4849KI", "-6261KI"]
HEAD = "手合割：平手\n手数----指手--\n"
LARGE = {
    "long.kif": HEAD + "".join(f"{n + 1:4} {CYCLE_KIF[n % 4]}\n" for n in range(52_000)),
    "long.ki2": "\n".join(CYCLE_KI2 * 20_000),
    "one line.ki2": " ".join(CYCLE_KI2 * 20_000),
    "long.csa": "PI\n+\n" + "\n".join(CYCLE_CSA * 30_000),
    "one line.csa": "PI\n+\n" + ",".join(CYCLE_CSA * 30_000),
    "long.usi": "startpos moves " + "4i4h 6a6b 4h4i 6b6a " * 50_000,
    "games.kif": (HEAD + "   1 ７六歩(77)\n   2 投了\n") * 15_000,
    "games.ki2": "▲７六歩\nまで1手で先手の勝ち\n" * 25_000,
    "games.csa": "PI\n+\n+7776FU\n/\n" * 70_000,
    "games.usi": "7g7f\n" * 200_000,
    "variations.kif": HEAD + "   1 ７六歩(77)\n" + "変化：1手\n   1 ２六歩(27)\n" * 31_000,
    "handicaps.kif": ("手合割：二枚落ち\n   1 ４二玉(51)\n" * 24_000),
    "rows.kif": "| ・ ・ ・ ・v玉 ・ ・ ・ ・|一\n" * 25_000,
    "rows.csa": "P1-KY-KE-GI-KI-OU-KI-GI-KE-KY\n" * 34_000,
    "comments.csa": "'" + "x" * 1_000_000,
    "placed.csa": "P+" + "00FU" * 250_000,
    "hand.kif": "先手の持駒：" + "歩十八" * 110_000,
} | {
    f"{name}{ending}": text
    for ending in (".kif", ".ki2", ".csa", ".usi")
    for name, text in {
        "spaces": "1 " + " " * 1_000_000 + "x",
        "wide spaces": "　" * 330_000 + "x",
        "digits": "1" * 1_000_000,
        "dots": "1" + "." * 1_000_000,
        "same": "同 " * 250_000,
        "marks": "▲" * 330_000,
        "letters": "1 投" + "a_" * 500_000 + "!",
        "pieces": "1 " + "歩" * 330_000,
        "hints": "５五金" + "左" * 330_000,
        "slashes": "/\n" * 500_000,
        "until": "まで" + "、" * 330_000,
        "sides": "まで" + "先手の" * 110_000,
        "colons": "：" * 330_000,
        "pipes": "|" * 1_000_000,
        "quotes": "'," * 500_000,
        "signs": "+\n" * 500_000,
        "bytes": "\x00" * 1_000_000,
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_megabyte_is_read_in_seconds(tmp_path: Path, name: str) -> None:
    """A quadratic reader would take minutes. docs/decisions/0006 has the measured times."""
    text = LARGE[name]
    assert len(text.encode()) > 900_000
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    began = time.process_time()
    found = list(read_games(file))
    seconds = time.process_time() - began
    print(f"{name}: {len(found)} found, {seconds:.2f} s")
    assert found or name.startswith(("slashes", "comments", "quotes"))
    assert seconds < 10
