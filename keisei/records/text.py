"""Decode the text of a record file, and make quotations from the text safe to print."""

import re

_ENCODINGS = {"EUC-JP": "euc_jp", "Shift_JIS": "cp932", "UTF-8": "utf-8"}
_TYPICAL = re.compile("[手合割先後数▲△☗☖同一二三四五六七八九１-９歩香桂銀金角飛玉]")
"""Frequent characters of KIF and KI2 files; a wrongly decoded text contains almost none."""


def decode(data: bytes) -> tuple[str, str]:
    """Return the text of a file, and the name of its most likely encoding.

    Some files have bytes that are invalid in every encoding, for example because a program cut off
    a name inside a character. These bytes are replaced. In names and comments, the replacement does
    no harm.
    """
    try:
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        texts = {name: data.decode(codec, "replace") for name, codec in _ENCODINGS.items()}
        likeliest = max(texts, key=lambda name: _likeness(texts[name]))
        return texts[likeliest].removeprefix("\ufeff"), likeliest


def _likeness(text: str) -> int:
    """Return a score; a higher score means that the text looks more like a game record."""
    return len(_TYPICAL.findall(text)) - text.count("\ufffd")


def printable(text: str) -> str:
    """Make one printable line from the first 400 characters of a message that quotes a file.

    Characters that are not printable are escaped, so the line is safe to print in a terminal.
    """
    short = text if len(text) <= 400 else f"{text[:399]}…"
    if short.isprintable():
        return short
    return "".join(
        letter if letter.isprintable() or letter == "\u3000" else ascii(letter)[1:-1]
        for letter in short
    )


def lines_of(text: str) -> list[str]:
    """Split a text into lines only at CR, LF and CRLF, unlike ``str.splitlines``."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
