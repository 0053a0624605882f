"""The text of a file of records, whatever its encoding."""

import re

_ENCODINGS = {"EUC-JP": "euc_jp", "Shift_JIS": "cp932", "UTF-8": "utf-8"}
_TYPICAL = re.compile("[手合割先後数▲△☗☖同一二三四五六七八九１-９歩香桂銀金角飛玉]")
"""Letters of which KIF and KI2 consist; a wrong encoding shows next to none of them."""


def decode(data: bytes) -> tuple[str, str]:
    """The text and the name of its encoding, which is guessed once for the whole file.

    Where bytes are no letters in any encoding (a name cut in mid-letter), they are replaced in
    the likeliest one: in names and comments they cost nothing.
    """
    try:
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        texts = {name: data.decode(codec, "replace") for name, codec in _ENCODINGS.items()}
        likeliest = max(texts, key=lambda name: _likeness(texts[name]))
        return texts[likeliest].removeprefix("\ufeff"), likeliest


def _likeness(text: str) -> int:
    return len(_TYPICAL.findall(text)) - text.count("\ufffd")


def printable(text: str) -> str:
    """A message that quotes a file, as one line of bounded length that a terminal may be shown."""
    told = text if len(text) <= 400 else f"{text[:399]}…"
    if told.isprintable():
        return told
    return "".join(
        letter if letter.isprintable() or letter == "\u3000" else ascii(letter)[1:-1]
        for letter in told
    )


def lines_of(text: str) -> list[str]:
    """The lines. They end at CR, LF and CRLF alone; ``str.splitlines`` knows more line ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
