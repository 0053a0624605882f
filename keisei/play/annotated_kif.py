"""Writes an analysed game as KIF, with comments in the form that ShogiHome writes and reads.

ShogiHome reads the scores into its graph, and its users can play the lines through. Source of the
form: ``src/common/record/comment.ts`` in github.com/sunfish-shogi/shogihome.
"""

from rsshogi.core import Board, Move

from keisei.play.analysis import MoveReport, PositionReport
from keisei.play.game_report import GameReport
from keisei.records import GameRecord
from keisei.records.write import GameToWrite, write_kif
from keisei.shogi import Position
from keisei.usi.report import centipawns

_VERDICTS = {"inaccuracy": "緩手", "dubious": "疑問手", "mistake": "悪手", "blunder": "大悪手"}
_REASONS = {
    "mate": "checkmate",
    "resign": "resignation",
    "win_by_declaration": "declaration",
    "repetition_draw": "repetition",
}
"""Our reasons for the end of a game, by the reason in a record. Other reasons are kept."""


def annotated_kif(report: GameReport) -> str:
    """Return the game as KIF with a comment after each analysed move.

    The comment tells the score and the best line of the position after the move. Scores are seen
    from black's side, as in ShogiHome. Save the text as UTF-8.
    """
    game, sfens = report.game, _sfens(report.game)
    comments = [""] * len(sfens)
    if report.moves:
        first = report.moves[0]
        comments[first.ply - 1] = "\n".join(_findings(first.before, sfens[first.ply - 1], report))
    for move in report.moves:
        lines = [*_judgement(move), *_findings(move.after, sfens[move.ply], report)]
        comments[move.ply] = "\n".join(lines)
    written = GameToWrite(
        black=game.black,
        white=game.white,
        result=game.winner or "capped",
        reason=_REASONS.get(game.reason, game.reason),
        start=f"sfen {game.start}",
        moves=game.moves,
    )
    return write_kif(written, comments)


def _sfens(game: GameRecord) -> list[str]:
    """Return the SFENs of the start position and of the position after each move."""
    position = Position(game.start)
    found = [position.sfen()]
    for move in game.moves:
        position.push(move)
        found.append(position.sfen())
    return found


def _judgement(move: MoveReport) -> list[str]:
    """Return a line with the move's verdict, such as 【悪手】, or no line."""
    words = [_VERDICTS[move.verdict]] if move.verdict else []
    if move.missed_mate:
        words.append(f"{move.missed_mate}手詰めを逃した")
    return ["".join(f"【{word}】" for word in words)] if words else []


def _findings(found: PositionReport, sfen: str, report: GameReport) -> list[str]:
    """Return the lines about a position. The mark ``#`` means that a review found them."""
    if found.end:
        return []
    sign = 1 if found.side == "black" else -1
    if found.mate:
        winner = "先手勝ち" if sign * found.mate > 0 else "後手勝ち"
        lines = [f"#詰み={winner}:{abs(found.mate)}手"]
    else:
        lines = [f"#評価値={sign * centipawns(found.value)}"]
    if found.line == ("win",):
        lines.append("宣言勝ちできる")
    else:
        lines.append(f"#読み筋={_in_japanese(found.line, sfen)}")
    return [*lines, f"#ノード数={found.simulations}", f"#エンジン=Keisei {report.player}"]


def _in_japanese(line: tuple[str, ...], sfen: str) -> str:
    """Return a line of moves in the notation of KI2, without spaces: ``▲７六歩△３四歩``."""
    board, text = Board(sfen), ""
    for usi in line:
        text += Move.from_usi(usi).to_ki2(board) or ""
        board.apply_usi(usi)
    return text
