"""Reading game records: KIF, KI2, CSA and USI files.

Their grammar is rsshogi's business, but for USI, which has none beyond one game a line. Every move is
checked; a game that can't be used is given back as an error in its place, and the others are read.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from rsshogi.core import Board
from rsshogi.record import GameResult, Record

from keisei.records.game import GameRecord, RecordError, Winner
from keisei.shogi import START_SFEN, Position


@dataclass(frozen=True, slots=True)
class _Told:
    """What the text of one game says."""

    start: str
    moves: Sequence[str]
    winner: Winner | None
    reason: str


def record_files(paths: Iterable[Path]) -> list[Path]:
    """The files among ``paths``, and those with a known ending in the folders there and below, sorted.

    Raises RecordError for a path that isn't there, a file of another kind, a folder without records.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _FORMATS)
            if not inside:
                raise RecordError(f"{path}: no file in it ends in {', '.join(_FORMATS)}")
            files += inside
        elif not path.exists():
            raise RecordError(f"{path}: no such file or folder")
        elif path.suffix.lower() not in _FORMATS:
            raise RecordError(f"{path}: its name does not end in {', '.join(_FORMATS)}")
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def read_games(file: Path) -> Iterator[GameRecord | RecordError]:
    """The games of a file, in order; in place of one that can't be used, why."""
    try:
        text = _decode(file.read_bytes())
    except OSError as error:
        yield RecordError(f"{file}: {error.strerror}")
        return
    except UnicodeDecodeError:
        yield RecordError(f"{file}: neither UTF-8 nor Shift_JIS")
        return
    split, parse = _FORMATS[file.suffix.lower()]
    for first, lines in split(text.splitlines()):
        source = f"{file}:{first}"
        try:
            yield _checked(parse(lines), source)
        except ValueError as error:
            yield RecordError(f"{source}: {_explain(str(error), lines, first)}")


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp932")  # Shift_JIS as Windows writes it


def _checked(told: _Told, source: str) -> GameRecord:
    """The game, if our rules know its start and every move is legal. Raises ValueError."""
    if not told.moves:
        raise ValueError("no moves")
    start = told.start if told.start == START_SFEN else Position(told.start).sfen()
    board = Board(start)
    for ply, usi in enumerate(told.moves, 1):
        try:
            board.apply_usi(usi)
        except ValueError:
            raise ValueError(f"ply {ply}: {usi} is not legal ({board.to_sfen()})") from None
    moves = tuple(map(intern, told.moves))
    return GameRecord(start, moves, told.winner, told.reason, source)


def _explain(message: str, lines: Sequence[str], first: int) -> str:
    """rsshogi's message with the place: it quotes a line, or counts moves from 0."""
    if count := re.fullmatch(r"illegal move at index (\d+)", message):
        return f"ply {int(count[1]) + 1}: not a legal move"
    quoted = message.partition(": ")[2].strip()
    places = [number for number, line in enumerate(lines, first) if line.strip() == quoted]
    return f"{message} (line {places[0]})" if quoted and len(places) == 1 else message


# --- one file, its games ----------------------------------------------------------------------------

_Part = tuple[int, list[str]]
"""Number of the first line of a game, and its lines."""


def _whole(lines: list[str]) -> Iterator[_Part]:
    """KIF and KI2 hold one game a file."""
    yield 1, lines


def _between_slashes(lines: list[str]) -> Iterator[_Part]:
    """CSA: a line ``/`` stands between two games."""
    begin = 0
    for end in (*(n for n, line in enumerate(lines) if line.strip() == "/"), len(lines)):
        part = lines[begin:end]
        if any(line.strip() and not line.startswith("'") for line in part):
            yield begin + 1, part
        begin = end + 1


def _each_line(lines: list[str]) -> Iterator[_Part]:
    """USI: one game a line; ``#`` begins a comment."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            yield number, [line]


# --- the text of one game ---------------------------------------------------------------------------


def _kif(lines: list[str]) -> _Told:
    if sum(line.startswith("手数----") for line in lines) > 1:  # rsshogi would drop all but one
        raise ValueError("several games in one KIF file; split it")
    record = Record.from_kif_str("\n".join(lines))
    end = record.main_terminal
    if end and end.unknown_name:  # rsshogi takes what it can't read as a move for an end
        raise ValueError(f"no move and no end: {(end.raw or '').strip()}")
    return _unpack(record)


def _ki2(lines: list[str]) -> _Told:
    return _unpack(Record.from_ki2_str("\n".join(lines)))


def _csa(lines: list[str]) -> _Told:
    return _unpack(Record.from_csa_str("\n".join(lines)))


def _unpack(record: Record) -> _Told:
    moves = [entry.move.to_usi() for entry in record.moves]
    end = record.main_terminal
    reason = end.kind.lower() if end else "unknown"
    return _Told(record.init_position_sfen, moves, _winner(record.result), reason)


def _winner(result: GameResult) -> Winner | None:
    if result.is_black_win():
        return "black"
    if result.is_white_win():
        return "white"
    # A game cut at a number of moves is no draw, as in training.
    return "draw" if result.is_draw() and result != GameResult.DRAW_BY_MAX_PLIES else None


_USI_ENDS = {
    "resign": "resign",
    "time_up": "timeout",
    "win": "win_by_declaration",
    "draw": "draw",
    "sennichite": "repetition_draw",
    "jishogi": "impasse",
    "max_moves": "max_moves",
    "interrupt": "interrupt",
}
"""What may stand in place of the last move, and the reason it tells."""


def _usi(lines: list[str]) -> _Told:
    words = lines[0].split()
    if words[0] == "position":
        del words[0]
    if words[:1] == ["startpos"]:
        start, rest = START_SFEN, words[1:]
    elif words[:1] == ["sfen"]:
        start, rest = " ".join(words[1:5]), words[5:]
    else:
        raise ValueError("a line begins with startpos or sfen, or position and one of these")
    if rest[:1] not in ([], ["moves"]):
        raise ValueError(f"moves was expected, not {rest[0]}")
    moves = rest[1:]
    if not moves or moves[-1] not in _USI_ENDS:
        return _Told(start, moves, None, "unknown")
    end = moves.pop()
    white_to_move = (start.split()[1:2] == ["w"]) ^ bool(len(moves) % 2)
    winner: Winner | None = None
    if end in {"resign", "time_up"}:
        winner = "black" if white_to_move else "white"
    elif end == "win":
        winner = "white" if white_to_move else "black"
    elif end in {"draw", "sennichite", "jishogi"}:
        winner = "draw"
    return _Told(start, moves, winner, _USI_ENDS[end])


_Split = Callable[[list[str]], Iterator[_Part]]
_Parse = Callable[[list[str]], _Told]
_FORMATS: dict[str, tuple[_Split, _Parse]] = {
    ".kif": (_whole, _kif),
    ".kifu": (_whole, _kif),
    ".ki2": (_whole, _ki2),
    ".csa": (_between_slashes, _csa),
    ".usi": (_each_line, _usi),
    ".sfen": (_each_line, _usi),
}
