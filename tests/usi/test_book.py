from keisei.shogi import Position
from keisei.usi.book import Book

BOOK = Book(
    [
        "startpos moves 7g7f 3c3d 2g2f",
        "startpos moves 2g2f 3c3d 7g7f 4c4d",
        "startpos moves 7g7f 8c8d",
    ]
)


def after(*moves: str) -> Position:
    position = Position()
    for move in moves:
        position.push(move)
    return position


def test_the_book_knows_the_moves_of_all_openings() -> None:
    assert BOOK.moves(Position()) == ["7g7f", "2g2f", "7g7f"]
    assert BOOK.moves(after("7g7f")) == ["3c3d", "8c8d"]
    assert BOOK.moves(after("1g1f")) == []


def test_a_position_is_known_however_it_came_about() -> None:
    assert BOOK.moves(after("7g7f", "3c3d", "2g2f")) == ["4c4d"]
    late = Position("lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 55")
    assert BOOK.moves(late) == BOOK.moves(Position())
