"""The encoding of a file is guessed once, from its letters; quotes of it are printable."""

import pytest

from keisei.records.text import decode, lines_of, printable

KIF = "手合割：平手\n先手：山田\n手数----指手---------消費時間--\n   1 ７六歩(77)\n   2 投了\n"


@pytest.mark.parametrize(
    ("codec", "name"),
    [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("cp932", "Shift_JIS"), ("euc_jp", "EUC-JP")],
)
@pytest.mark.parametrize("cut", [0, 1])
def test_the_encoding_is_found_even_if_a_letter_is_cut(codec: str, name: str, cut: int) -> None:
    before, after = KIF.encode(codec).split("田".encode(codec.removesuffix("-sig")))
    letter = "田".encode(codec.removesuffix("-sig"))
    text, found = decode(before + letter[: len(letter) - cut] + after)
    assert found == name
    assert text.split("\n")[3:] == KIF.split("\n")[3:]
    assert text.startswith("手合割")


def test_the_encoding_that_a_file_declares_is_ignored() -> None:
    declared = "#KIF version=2.0 encoding=UTF-8\n" + KIF
    assert decode(declared.encode("cp932")) == (declared, "Shift_JIS")


def test_lines_end_only_at_cr_lf_and_crlf() -> None:
    assert lines_of("a\nb\r\nc\rd\x0b\x0c\x1c\x85\u2028e\n") == [
        "a", "b", "c", "d\x0b\x0c\x1c\x85\u2028e", "",
    ]  # fmt: skip


def test_a_quoted_text_is_one_line_of_at_most_400_letters() -> None:
    assert printable("歩　\x1b[31m\u2028") == "歩　\\x1b[31m\\u2028"
    assert len(printable("x" * 10_000)) == 400
