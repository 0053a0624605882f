"""Bytes to text: one guess for a file, which nothing but its moves decides."""

import pytest

from keisei.records.text import decode, lines_of, printable

KIF = "手合割：平手\n先手：山田\n手数----指手---------消費時間--\n   1 ７六歩(77)\n   2 投了\n"


@pytest.mark.parametrize(
    ("codec", "name"),
    [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("cp932", "Shift_JIS"), ("euc_jp", "EUC-JP")],
)
@pytest.mark.parametrize("cut", [0, 1])
def test_the_encoding_is_found_in_spite_of_a_cut_letter(codec: str, name: str, cut: int) -> None:
    before, after = KIF.encode(codec).split("田".encode(codec.removesuffix("-sig")))
    letter = "田".encode(codec.removesuffix("-sig"))
    text, found = decode(before + letter[: len(letter) - cut] + after)
    assert found == name
    assert text.split("\n")[3:] == KIF.split("\n")[3:]
    assert text.startswith("手合割")


def test_a_declaration_of_another_encoding_does_not_count() -> None:
    declared = "#KIF version=2.0 encoding=UTF-8\n" + KIF
    assert decode(declared.encode("cp932")) == (declared, "Shift_JIS")


def test_lines_end_at_cr_lf_and_crlf_alone() -> None:
    assert lines_of("a\nb\r\nc\rd\x0b\x0c\x1c\x85\u2028e\n") == [
        "a", "b", "c", "d\x0b\x0c\x1c\x85\u2028e", "",
    ]  # fmt: skip


def test_what_a_message_quotes_is_one_line_of_bounded_length() -> None:
    assert printable("歩　\x1b[31m\u2028") == "歩　\\x1b[31m\\u2028"
    assert len(printable("x" * 10_000)) == 400
