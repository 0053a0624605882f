# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-subclassing-any=False, check-untyped-defs=False
"""All compiled functions of the project: the rules of shogi, applied to many games at once.

All compiled functions are in this one file, because Numba's disk cache notices changes only in the
file of the cached function. If a cached function called a function in a second file, Numba would
run old code after a change of the second file.

How it works
------------
The side to move is called the mover. A board has 81 bytes, and is stored *as the mover sees it*.
The number of a square is file * 9 + rank, where rank 0 is the farthest rank from the mover. "Up"
(towards lower ranks) is always forward for the mover. After each move, the board is turned round.
Therefore the rules are written only once, for one side. The piece codes are: 0 for an empty square;
1..14 for the mover's P L N S B R G K +P +L +N +S +B +R; 15..28 for the opponent's pieces in the
same order.

The type ``Bits`` is a set of squares: a 128-bit integer whose low 81 bits are used. Numba has no
such type, so section 1 of this file adds it. One vector comparison of the board's bytes gives the
set of all pieces of one kind. This is fast, so these sets are not stored between moves.

Legal moves are computed as 27 sets: each set contains the destinations of one move type. These sets
together are the legal mask; no list of moves is made, and moves are not tested one by one. A move
type and a destination together form an action. An action names exactly one move. To find the piece
that moves, start at the destination and go against the direction of the move. The first piece on
this line is the piece that moves.

Python code calls those functions in section 6 that are compiled with ``cache=True, nogil=True``. A
function with the arguments ``lo`` and ``hi`` processes the games ``[lo, hi)`` one after another;
the caller of the function divides the games among threads.
"""

import operator
from collections import namedtuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

ACTIONS = 27 * 81
MASK_WORDS = 35
# An observation contains the board, the hands, the number of earlier occurrences, whether the mover
# is in check, the ply, and three sets of squares. The first set contains the squares that the
# opponent attacks. The second set contains the squares that the mover attacks. The third set
# contains the squares that at least two of the mover's pieces attack. The second and third sets
# leave out some attacks: see ``board_moves``. Bit s of a set is square s.
OBSERVATION_BYTES = 81 + 14 + 3 + 3 * 11

# The record of a game. ``board`` is loaded as a vector of 128 bytes, so it must be the first field.
GAME = np.dtype(
    [
        ("board", np.uint8, (81,)),  # the board as the side to move sees it
        ("hands", np.uint8, (14,)),  # numbers of P L N S G B R: the mover's, then the opponent's
        ("side", np.uint8),  # side to move: 0 black (sente), 1 white
        ("key", np.uint64),  # Zobrist key of board, hands and side
        ("rng", np.uint64),  # state of the game's own random generator
        ("ply", np.int32),  # number of moves made in this game
        ("checks", np.int16, (2,)),  # consecutive checks up to now: by black, by white
        # number of the frozen opponent: positive if the opponent plays white, negative if it plays
        # black, 0 in self-play
        ("opponent", np.int16),
        ("in_check", np.uint8),
        ("earlier", np.uint8),  # number of earlier occurrences of this position in this game
        ("again", np.uint8),  # used in ``starts``: 1 if the next game has the same start
    ],
    align=True,
)

# Reasons why a game ended; StepResult.reason contains these numbers
CHECKMATE, NO_MOVES, REPETITION, PERPETUAL_CHECK, DECLARATION, MAX_PLY = range(1, 7)
# Entering-king rules, which say when a declaration gives a win or a draw
NO_RULE, RULE_27, RULE_24 = range(3)

PAWN, LANCE, KNIGHT, SILVER, BISHOP, ROOK, GOLD, KING = range(1, 9)
HORSE, DRAGON = 13, 14
THEIRS = 14  # add this to the mover's piece code to get the opponent's piece code

UP, DOWN, LEFT, RIGHT = -1, 1, 9, -9
UP_LEFT, UP_RIGHT, DOWN_LEFT, DOWN_RIGHT = 8, -10, 10, -8
JUMP_LEFT, JUMP_RIGHT = 7, -11
FOE_JUMP_LEFT, FOE_JUMP_RIGHT = 11, -7  # jumps of the opponent's knights

# Move types in dlshogi's order: 10 directions, the same 10 with promotion, then 7 drops
DELTA = np.array(
    [UP, UP_LEFT, UP_RIGHT, LEFT, RIGHT, DOWN, DOWN_LEFT, DOWN_RIGHT, JUMP_LEFT, JUMP_RIGHT],
    np.int64,
)
DROP_PIECE = np.array([PAWN, LANCE, KNIGHT, SILVER, BISHOP, ROOK, GOLD], np.uint8)
# Hand slot of each piece code. A promoted piece has the slot of its unpromoted form. The slots are
# in the order P L N S G B R.
HAND = np.array([0, 0, 1, 2, 3, 5, 6, 4, 0, 0, 1, 2, 3, 5, 6], np.uint8)
# Value of each piece for the material player, by piece code
VALUE = np.array([0, 1, 3, 3, 4, 8, 9, 5, 0, 4, 4, 4, 4, 11, 13], np.int64)

_random = np.random.Generator(np.random.PCG64(20240229))
# Zobrist numbers by piece code (1..14 black's, 15..28 white's) and by square as black sees it.
ZOBRIST = _random.integers(1, 2**64 - 1, (29, 81), np.uint64)
# Zobrist numbers by side, hand slot, and number of pieces in the slot.
ZOBRIST_HAND = _random.integers(1, 2**64 - 1, (2, 7, 19), np.uint64)
ZOBRIST_SIDE = np.uint64(0x9E3779B97F4A7C15)


# --- 1. Sets of squares ---------------------------------------------------------------------------

_I128, _I64 = ir.IntType(128), ir.IntType(64)


class Bits(types.Type):
    """A set of squares in compiled code: an integer of 128 bits."""

    def __init__(self):
        super().__init__("Bits")


BITS = Bits()


@register_model(Bits)
class _BitsModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _I128)


def _operator(name, *functions):
    """Make Numba compile calls of ``functions`` with two sets to the LLVM instruction ``name``."""
    for function in functions:

        @infer_global(function)
        class _Template(ConcreteTemplate):
            cases = (signature(BITS, BITS, BITS),)

        @lower_builtin(function, BITS, BITS)
        def _lower(context, builder, sig, args):
            return getattr(builder, name)(*args)


_operator("and_", operator.and_, operator.iand)
_operator("or_", operator.or_, operator.ior)


@infer_global(operator.invert)
class _InvertTemplate(ConcreteTemplate):
    cases = (signature(BITS, BITS),)


@lower_builtin(operator.invert, BITS)
def _lower_invert(context, builder, sig, args):
    return builder.not_(args[0])


def _set(test):
    """Return a Python integer: the set of squares for which ``test(file, rank)`` is true."""
    return sum(1 << (f * 9 + r) for f in range(9) for r in range(9) if test(f, r))


def _arrivals(delta):
    """Return the squares on which a step by ``delta`` can end, if it begins on the board."""
    files, ranks = divmod(delta + 4, 9)
    ranks -= 4  # delta = files * 9 + ranks, -4 <= ranks <= 4
    return _set(lambda f, r: 0 <= f - files < 9 and 0 <= r - ranks < 9)


def _shift(builder, value, delta):
    amount = ir.Constant(_I128, abs(delta))
    return builder.shl(value, amount) if delta > 0 else builder.lshr(value, amount)


# Constant sets. Compiled code gets these sets from ``const``, because Numba has no integers of more
# than 64 bits.
_SETS = (
    0,
    _set(lambda f, r: True),
    _set(lambda f, r: r == 0),
    _set(lambda f, r: r < 2),
    _set(lambda f, r: r < 3),
)
NONE, ALL, FAR_1, FAR_2, ZONE = range(5)


@intrinsic(prefer_literal=True)
def const(typing, which):
    """Return the constant set whose name (NONE, ALL ...) is given."""
    value = _SETS[which.literal_value]
    return BITS(which), lambda context, builder, sig, args: ir.Constant(_I128, value)


@intrinsic(prefer_literal=True)
def step(typing, squares, delta):
    """Return the squares that one step (or jump) by ``delta`` reaches from ``squares``."""

    def codegen(context, builder, sig, args):
        d = delta.literal_value
        return builder.and_(_shift(builder, args[0], d), ir.Constant(_I128, _arrivals(d)))

    return BITS(squares, delta), codegen


@intrinsic(prefer_literal=True)
def slide(typing, squares, empty, delta):
    """Return the squares that sliders on ``squares`` reach in the direction ``delta``.

    A slide includes the square of the first piece on the line, and ends there.
    """

    def codegen(context, builder, sig, args):
        d = delta.literal_value
        edge = ir.Constant(_I128, _arrivals(d))
        flow, free = args[0], builder.and_(args[1], edge)
        for times in (1, 2, 4):  # Kogge-Stone fill: the loop slides up to 7 squares
            flow = builder.or_(flow, builder.and_(free, _shift(builder, flow, d * times)))
            if times < 4:
                free = builder.and_(free, _shift(builder, free, d * times))
        return builder.and_(_shift(builder, flow, d), edge)

    return BITS(squares, empty, delta), codegen


@intrinsic
def store_squares(typing, array, row, column, squares):
    """Write a set as 11 bytes, lowest square first; the first byte is ``array[row, column]``."""

    def codegen(context, builder, sig, args):
        store = context.make_array(sig.args[0])(context, builder, args[0])
        place = cgutils.get_item_pointer(context, builder, sig.args[0], store, args[1:3])
        narrow = ir.IntType(88)
        builder.store(
            builder.trunc(args[3], narrow), builder.bitcast(place, narrow.as_pointer()), align=1
        )
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64, squares), codegen


@intrinsic
def some(typing, squares):
    """Return whether the set is not empty."""

    def codegen(context, builder, sig, args):
        return builder.icmp_unsigned("!=", args[0], ir.Constant(_I128, 0))

    return types.boolean(squares), codegen


@intrinsic
def where(typing, number, squares):
    """Return the set if ``number`` is not zero, else the empty set. The code has no branch."""

    def codegen(context, builder, sig, args):
        flag = builder.icmp_unsigned("!=", args[0], ir.Constant(args[0].type, 0))
        return builder.select(flag, args[1], ir.Constant(_I128, 0))

    return BITS(number, squares), codegen


def _call(builder, name, value, *more):
    """Call an LLVM intrinsic that is overloaded on the type of ``value``."""
    args = [value, *more]
    kind = ir.FunctionType(value.type, [arg.type for arg in args])
    return builder.call(builder.module.declare_intrinsic(name, [value.type], kind), args)


@intrinsic
def count(typing, value):
    """Return the number of squares in a set, or the number of 1 bits in a uint64."""

    def codegen(context, builder, sig, args):
        ones = _call(builder, "llvm.ctpop", args[0])
        return ones if ones.type == _I64 else builder.trunc(ones, _I64)

    return types.int64(value), codegen


@intrinsic
def first(typing, value):
    """Return the number of a set's lowest square, or of a uint64's lowest bit that is 1.

    For an empty set or 0, the result is undefined.
    """

    def codegen(context, builder, sig, args):
        zeros = _call(builder, "llvm.cttz", args[0], ir.Constant(ir.IntType(1), 1))
        return zeros if zeros.type == _I64 else builder.trunc(zeros, _I64)

    return types.int64(value), codegen


@intrinsic
def only(typing, square):
    """Return the set that contains one square, which is given by its number."""

    def codegen(context, builder, sig, args):
        return builder.shl(ir.Constant(_I128, 1), builder.zext(args[0], _I128))

    return BITS(types.int64), codegen


@intrinsic
def turned(typing, squares):
    """Return the set as the other side sees it: square s becomes square 80 - s."""

    def codegen(context, builder, sig, args):
        reverse = _call(builder, "llvm.bitreverse", args[0])
        return builder.lshr(reverse, ir.Constant(_I128, 128 - 81))

    return BITS(squares), codegen


def _splat(builder, value, lanes):
    """Return a vector with ``value`` in every lane."""
    vector = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, undefined, zeros)


# A board in a register has 128 bytes: the first 81 are the squares, the others are 0. Each move
# writes the new board to memory once; the search for legal moves uses the board in the register.
# Otherwise, a wide load would follow narrow stores to the same address, and the processor would
# stall.

_BYTE, _VIEW = ir.IntType(8), ir.VectorType(ir.IntType(8), 128)


class View(types.Type):
    """A board in compiled code: a vector of 128 bytes."""

    def __init__(self):
        super().__init__("View")


VIEW = View()


@register_model(View)
class _ViewModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VIEW)


def _bytes(values):
    """Return a constant vector of bytes."""
    return ir.Constant(ir.VectorType(_BYTE, len(values)), [v & 255 for v in values])


@intrinsic
def load_view(typing, board):
    """Load a game's record (128 bytes), which begins with the field ``board``; return the board."""
    if GAME.itemsize != 128:
        raise TypeError("the dtype GAME must have 128 bytes")

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        record = builder.load(builder.bitcast(data, _VIEW.as_pointer()), align=1)
        return builder.and_(record, _bytes([255] * 81 + [0] * 47))

    return VIEW(board), codegen


@intrinsic
def store_view(typing, view, board):
    """Write the board ``view`` to ``board``, the first field of a game's record."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        for lo, hi in ((0, 64), (64, 80), (80, 81)):
            order = ir.Constant(ir.VectorType(ir.IntType(32), hi - lo), list(range(lo, hi)))
            part = builder.shuffle_vector(args[0], ir.Constant(_VIEW, ir.Undefined), order)
            start = builder.gep(data, [ir.Constant(_I64, lo)])
            builder.store(part, builder.bitcast(start, part.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.none(view, board), codegen


@intrinsic
def put(typing, view, square, code):
    """Return the board with ``code`` on ``square``."""

    def codegen(context, builder, sig, args):
        place = _splat(builder, builder.trunc(args[1], _BYTE), 128)
        here = builder.icmp_unsigned("==", place, _bytes(range(128)))
        what = _splat(builder, builder.trunc(args[2], _BYTE), 128)
        return builder.select(here, what, args[0])

    return VIEW(view, types.int64, types.int64), codegen


@intrinsic
def turn_view(typing, view):
    """Return the board as the other side sees it.

    Square s becomes square 80 - s, and each piece changes its owner.
    """

    def codegen(context, builder, sig, args):
        nothing, own = _bytes([0] * 128), _bytes([THEIRS] * 128)
        order = ir.Constant(
            ir.VectorType(ir.IntType(32), 128), [80 - k if k <= 80 else 128 for k in range(128)]
        )
        codes = builder.shuffle_vector(args[0], nothing, order)
        mine = builder.icmp_unsigned("<=", codes, own)
        other = builder.select(mine, builder.add(codes, own), builder.sub(codes, own))
        return builder.select(builder.icmp_unsigned("==", codes, nothing), nothing, other)

    return VIEW(view), codegen


@intrinsic(prefer_literal=True)
def squares(typing, view, lowest, highest):
    """Return the squares whose piece code is in ``lowest..highest``; ``lowest`` must be > 0."""

    def codegen(context, builder, sig, args):
        lo, hi = lowest.literal_value, highest.literal_value
        if lo == hi:
            hit = builder.icmp_unsigned("==", args[0], _bytes([lo] * 128))
        else:
            above = builder.sub(args[0], _bytes([lo] * 128))
            hit = builder.icmp_unsigned("<=", above, _bytes([hi - lo] * 128))
        return builder.bitcast(hit, _I128)

    return BITS(view, lowest, highest), codegen


@intrinsic
def equal_lanes(typing, array, row, parity, offset, value):
    """Return a uint64 whose bit k (0..63) is 1 if ``array[row, parity, offset + k] == value``."""

    def codegen(context, builder, sig, args):
        kind = sig.args[0]
        store = context.make_array(kind)(context, builder, args[0])
        start = cgutils.get_item_pointer(context, builder, kind, store, args[1:4])
        element = context.get_data_type(kind.dtype)
        pointer = builder.bitcast(start, ir.VectorType(element, 64).as_pointer())
        lanes = builder.load(pointer, align=2)
        equal = builder.icmp_unsigned("==", lanes, _splat(builder, args[4], 64))
        return builder.bitcast(equal, _I64)

    return types.uint64(array, types.int64, types.int64, types.int64, array.dtype), codegen


@intrinsic
def pack(typing, mask, row, rows):
    """Write a tuple of 27 sets of destinations as the packed mask ``mask[row]`` (uint64[35])."""

    def codegen(context, builder, sig, args):
        words = [ir.Constant(_I64, 0)] * (MASK_WORDS + 2)
        for kind, value in enumerate(cgutils.unpack_tuple(builder, args[2], 27)):
            word, offset = divmod(kind * 81, 64)
            low = builder.trunc(value, _I64)
            high = builder.trunc(builder.lshr(value, ir.Constant(_I128, 64)), _I64)
            left, right = ir.Constant(_I64, offset), ir.Constant(_I64, 64 - offset)
            parts = [builder.shl(low, left), builder.shl(high, left), None]
            if offset:
                parts[1] = builder.or_(parts[1], builder.lshr(low, right))
                parts[2] = builder.lshr(high, right)
            for k, part in enumerate(parts):
                if part is not None:
                    words[word + k] = builder.or_(words[word + k], part)
        store = context.make_array(sig.args[0])(context, builder, args[0])
        zero = ir.Constant(_I64, 0)
        start = cgutils.get_item_pointer(context, builder, sig.args[0], store, [args[1], zero])
        for k in range(MASK_WORDS):
            builder.store(words[k], builder.gep(start, [ir.Constant(_I64, k)]))
        return context.get_dummy_value()

    return types.none(mask, types.int64, rows), codegen


@intrinsic
def union(typing, rows):
    """Return the union of all sets in a tuple."""

    def codegen(context, builder, sig, args):
        value = ir.Constant(_I128, 0)
        for row in cgutils.unpack_tuple(builder, args[0], sig.args[0].count):
            value = builder.or_(value, row)
        return value

    return BITS(rows), codegen


@intrinsic
def total(typing, rows):
    """Return the sum of the sizes of all sets in a tuple."""

    def codegen(context, builder, sig, args):
        number = ir.Constant(_I128, 0)
        for value in cgutils.unpack_tuple(builder, args[0], sig.args[0].count):
            number = builder.add(number, _call(builder, "llvm.ctpop", value))
        return builder.trunc(number, _I64)

    return types.int64(rows), codegen


# --- 2. Legal moves -------------------------------------------------------------------------------

# The pieces of one side as sets. ``men``: all pieces. ``gold``: all pieces that move like a gold.
Side = namedtuple("Side", "men pawn lance knight silver gold bishop rook king horse dragon")
# Threats to the mover's king. ``danger``: squares that the king may not enter. ``checkers``: pieces
# that give check. ``answer``: squares where a piece other than the king can end the check (the
# checker's square and the squares between the checker and the king). The next four fields contain
# the pinned pieces, by the direction of the pin. ``rays``: squares that the opponent's lances,
# bishops, rooks, horses and dragons attack along a line. ``shields``: the opponent's pieces that
# give a discovered check if they leave the line between such a piece and the king.
Threat = namedtuple(
    "Threat", "danger checkers answer vertical horizontal falling rising rays shields"
)


@njit(forceinline=True)
def read_view(view):
    """Return the pieces of the mover and of the opponent, each as a ``Side``."""
    mine = Side(
        squares(view, 1, 14),
        squares(view, PAWN, PAWN),
        squares(view, LANCE, LANCE),
        squares(view, KNIGHT, KNIGHT),
        squares(view, SILVER, SILVER),
        squares(view, GOLD, GOLD) | squares(view, 9, 12),
        squares(view, BISHOP, BISHOP),
        squares(view, ROOK, ROOK),
        squares(view, KING, KING),
        squares(view, HORSE, HORSE),
        squares(view, DRAGON, DRAGON),
    )
    theirs = Side(
        squares(view, 15, 28),
        squares(view, 15, 15),
        squares(view, 16, 16),
        squares(view, 17, 17),
        squares(view, 18, 18),
        squares(view, 21, 21) | squares(view, 23, 26),
        squares(view, 19, 19),
        squares(view, 20, 20),
        squares(view, 22, 22),
        squares(view, 27, 27),
        squares(view, 28, 28),
    )
    return mine, theirs


@njit(forceinline=True)
def find_threats(mine, theirs):
    """Return the threats to the mover's king: checks, pins and forbidden squares."""
    king = mine.king
    empty = const(ALL) & ~(mine.men | theirs.men)
    # Attacks pass through the king, because the king may not retreat along the line of the attack.
    through = empty | king
    straight = theirs.rook | theirs.dragon
    diagonal = theirs.bishop | theirs.horse
    down = slide(straight | theirs.lance, through, DOWN)
    up = slide(straight, through, UP)
    left = slide(straight, through, LEFT)
    right = slide(straight, through, RIGHT)
    up_left = slide(diagonal, through, UP_LEFT)
    up_right = slide(diagonal, through, UP_RIGHT)
    down_left = slide(diagonal, through, DOWN_LEFT)
    down_right = slide(diagonal, through, DOWN_RIGHT)

    soldiers = theirs.silver | theirs.gold | theirs.king  # they attack all three squares in front
    squires = theirs.gold | theirs.king | theirs.horse
    nobles = theirs.silver | theirs.king | theirs.dragon
    rays = (down | up | left | right) | (up_left | up_right | down_left | down_right)
    danger = (
        rays
        | step(soldiers | theirs.pawn | theirs.horse, DOWN)
        | step(soldiers | theirs.dragon, DOWN_LEFT)
        | step(soldiers | theirs.dragon, DOWN_RIGHT)
        | step(squires, LEFT)
        | step(squires, RIGHT)
        | step(squires, UP)
        | step(nobles, UP_LEFT)
        | step(nobles, UP_RIGHT)
        | step(theirs.knight, FOE_JUMP_LEFT)
        | step(theirs.knight, FOE_JUMP_RIGHT)
    )

    see_up, see_down = slide(king, empty, UP), slide(king, empty, DOWN)
    see_left, see_right = slide(king, empty, LEFT), slide(king, empty, RIGHT)
    see_ul, see_dr = slide(king, empty, UP_LEFT), slide(king, empty, DOWN_RIGHT)
    see_ur, see_dl = slide(king, empty, UP_RIGHT), slide(king, empty, DOWN_LEFT)
    # A piece is pinned if it stands between its king and a slider that attacks along this line.
    vertical = see_up & down | see_down & up
    horizontal = see_left & right | see_right & left
    falling = see_ul & down_right | see_dr & up_left
    rising = see_ur & down_left | see_dl & up_right
    shields = (vertical | horizontal | falling | rising) & theirs.men
    vertical, horizontal = vertical & mine.men, horizontal & mine.men
    falling, rising = falling & mine.men, rising & mine.men

    checkers = const(NONE)
    answer = const(NONE)
    if some(danger & king):
        gold_like = theirs.gold | theirs.horse
        checkers = (
            step(king, UP) & (theirs.pawn | theirs.silver | gold_like)
            | (step(king, UP_LEFT) | step(king, UP_RIGHT))
            & (theirs.silver | theirs.gold | theirs.dragon)
            | (step(king, LEFT) | step(king, RIGHT) | step(king, DOWN)) & gold_like
            | (step(king, DOWN_LEFT) | step(king, DOWN_RIGHT)) & (theirs.silver | theirs.dragon)
            | (step(king, JUMP_LEFT) | step(king, JUMP_RIGHT)) & theirs.knight
        )
        line = const(NONE)
        if some(down & king):
            line |= see_up
        if some(up & king):
            line |= see_down
        if some(left & king):
            line |= see_right
        if some(right & king):
            line |= see_left
        if some(up_left & king):
            line |= see_dr
        if some(up_right & king):
            line |= see_dl
        if some(down_left & king):
            line |= see_ur
        if some(down_right & king):
            line |= see_ul
        answer = checkers | line
        checkers |= line & theirs.men
    return Threat(danger, checkers, answer, vertical, horizontal, falling, rising, rays, shields)


@njit(inline="always")
def met(once, twice, more):
    """Add the attacked squares ``more`` to two sets; return both sets.

    The set ``once`` contains the squares that are attacked at least once, and ``twice`` contains
    the squares that are attacked at least twice.
    """
    return once | more, twice | (once & more)


@njit(forceinline=True)
def board_moves(mine, theirs, threat):
    """Return the destinations of board moves, as 20 sets in the order of the move types.

    Also return the squares that the mover's pieces attack, and the squares that at least two of
    these pieces attack. Both sets include squares with the mover's own pieces. Neither set includes
    attacks by the king. For a pinned piece, both sets include only attacks along the line of the
    pin.
    """
    empty = const(ALL) & ~(mine.men | theirs.men)
    zone = const(ZONE)
    target = ~mine.men & const(ALL)
    if some(threat.checkers):
        target = threat.answer if count(threat.checkers) == 1 else const(NONE)

    # A pinned piece moves only along the line of its pin.
    free_v = ~(threat.horizontal | threat.falling | threat.rising)
    free_h = ~(threat.vertical | threat.falling | threat.rising)
    free_f = ~(threat.vertical | threat.horizontal | threat.rising)
    free_r = ~(threat.vertical | threat.horizontal | threat.falling)
    knights = mine.knight & free_v & ~threat.vertical

    straight, diagonal = mine.rook | mine.dragon, mine.bishop | mine.horse
    soldiers = mine.silver | mine.gold
    squires = mine.gold | mine.horse

    spears = step(mine.pawn & free_v, UP) | slide(mine.lance & free_v, empty, UP)
    up = slide(straight & free_v, empty, UP)
    down = slide(straight & free_v, empty, DOWN)
    left = slide(straight & free_h, empty, LEFT)
    right = slide(straight & free_h, empty, RIGHT)
    up_left = slide(diagonal & free_f, empty, UP_LEFT)
    down_right = slide(diagonal & free_f, empty, DOWN_RIGHT)
    up_right = slide(diagonal & free_r, empty, UP_RIGHT)
    down_left = slide(diagonal & free_r, empty, DOWN_LEFT)
    jump_left, jump_right = step(knights, JUMP_LEFT), step(knights, JUMP_RIGHT)

    # A slide forward or sideways can be a promotion if it ends in the zone. Promoted pieces cannot
    # promote again, so remove their slides.
    p_up, p_left, p_right, p_ul, p_ur = up, left, right, up_left, up_right
    if some(mine.dragon):
        p_up &= ~slide(mine.dragon, empty, UP)
        p_left &= ~slide(mine.dragon, empty, LEFT)
        p_right &= ~slide(mine.dragon, empty, RIGHT)
    if some(mine.horse):
        p_ul &= ~slide(mine.horse, empty, UP_LEFT)
        p_ur &= ~slide(mine.horse, empty, UP_RIGHT)
    # A backward move can be a promotion if it starts in the zone.
    rook, bishop, silver = mine.rook & zone, mine.bishop & zone, mine.silver & zone
    p_down, p_dl, p_dr = const(NONE), const(NONE), const(NONE)
    if some(rook | bishop | silver):
        p_down = slide(rook & free_v, empty, DOWN)
        p_dl = slide(bishop & free_r, empty, DOWN_LEFT) | step(silver & free_r, DOWN_LEFT)
        p_dr = slide(bishop & free_f, empty, DOWN_RIGHT) | step(silver & free_f, DOWN_RIGHT)

    up |= step((soldiers | mine.horse) & free_v, UP)
    up_left |= step((soldiers | mine.dragon) & free_f, UP_LEFT)
    up_right |= step((soldiers | mine.dragon) & free_r, UP_RIGHT)
    left |= step(squires & free_h, LEFT)
    right |= step(squires & free_h, RIGHT)
    down |= step(squires & free_v, DOWN)
    down_left |= step((mine.silver | mine.dragon) & free_r, DOWN_LEFT)
    down_right |= step((mine.silver | mine.dragon) & free_f, DOWN_RIGHT)
    # In each direction, at most one piece reaches a square. So each set adds at most one attack.
    reach, twice = met(spears | up, const(NONE), down)
    reach, twice = met(reach, twice, left)
    reach, twice = met(reach, twice, right)
    reach, twice = met(reach, twice, up_left)
    reach, twice = met(reach, twice, up_right)
    reach, twice = met(reach, twice, down_left)
    reach, twice = met(reach, twice, down_right)
    reach, twice = met(reach, twice, jump_left)
    reach, twice = met(reach, twice, jump_right)

    safe = ~(mine.men | threat.danger)
    king = mine.king
    into = target & zone
    rows = (
        (spears & ~const(FAR_1) | up) & target | step(king, UP) & safe,
        up_left & target | step(king, UP_LEFT) & safe,
        up_right & target | step(king, UP_RIGHT) & safe,
        left & target | step(king, LEFT) & safe,
        right & target | step(king, RIGHT) & safe,
        down & target | step(king, DOWN) & safe,
        down_left & target | step(king, DOWN_LEFT) & safe,
        down_right & target | step(king, DOWN_RIGHT) & safe,
        jump_left & target & ~const(FAR_2),
        jump_right & target & ~const(FAR_2),
        (spears | p_up | step(mine.silver & free_v, UP)) & into,
        (p_ul | step(mine.silver & free_f, UP_LEFT)) & into,
        (p_ur | step(mine.silver & free_r, UP_RIGHT)) & into,
        p_left & into,
        p_right & into,
        p_down & target,
        p_dl & target,
        p_dr & target,
        jump_left & into,
        jump_right & into,
    )
    return rows, reach, twice


@njit
def turn_side(side):
    """Return the pieces of a side as the other side sees them."""
    return Side(
        turned(side.men),
        turned(side.pawn),
        turned(side.lance),
        turned(side.knight),
        turned(side.silver),
        turned(side.gold),
        turned(side.bishop),
        turned(side.rook),
        turned(side.king),
        turned(side.horse),
        turned(side.dragon),
    )


@njit
def neighbours(squares):
    """Return the squares next to the squares of a set, in all eight directions."""
    return (
        (step(squares, UP) | step(squares, DOWN) | step(squares, LEFT) | step(squares, RIGHT))
        | (step(squares, UP_LEFT) | step(squares, UP_RIGHT))
        | (step(squares, DOWN_LEFT) | step(squares, DOWN_RIGHT))
    )


@njit
def pawn_drop_mates(mine, theirs, square):
    """Return whether a pawn drop on ``square``, in front of the opponent's king, gives mate.

    No piece fits between the pawn and the king, so only moves on the board can end the check.
    """
    after = Side(
        mine.men | square,
        mine.pawn | square,
        mine.lance,
        mine.knight,
        mine.silver,
        mine.gold,
        mine.bishop,
        mine.rook,
        mine.king,
        mine.horse,
        mine.dragon,
    )
    me, foe = turn_side(theirs), turn_side(after)
    moves, _, _ = board_moves(me, foe, find_threats(me, foe))
    return not some(union(moves))


@njit(inline="always")
def drop_squares(mine, theirs, threat):
    """Return the empty squares where a drop leaves the mover's king out of check."""
    place = const(ALL) & ~(mine.men | theirs.men)
    if some(threat.checkers):
        place &= threat.answer if count(threat.checkers) == 1 else const(NONE)
    return place


@njit(forceinline=True)
def drops(hands, mine, theirs, threat, reach):
    """Return the destinations of drops, as 7 sets in the order of the move types: P L N S B R G."""
    place = drop_squares(mine, theirs, threat)
    pawn = const(NONE)
    if hands[0]:
        board = const(ALL)
        files = mine.pawn | slide(mine.pawn, board, UP) | slide(mine.pawn, board, DOWN)
        pawn = place & ~files & ~const(FAR_1)  # nifu: no second pawn on a file
        head = step(theirs.king, DOWN)
        if some(pawn & head):
            # An unguarded pawn does not mate, because the king can capture it. The test adds the
            # mover's king and pinned pieces as guards, because ``reach`` leaves out attacks by
            # these pieces.
            pinned = threat.vertical | threat.horizontal | threat.falling | threat.rising
            near = neighbours(mine.king) | reach
            if some(pinned | near & head) and pawn_drop_mates(mine, theirs, head):
                pawn &= ~head
    return (
        pawn,
        where(hands[1], place & ~const(FAR_1)),
        where(hands[2], place & ~const(FAR_2)),
        where(hands[3], place),
        where(hands[5], place),
        where(hands[6], place),
        where(hands[4], place),
    )


@njit
def declared(hands, side, mine, in_check, rule):
    """Return the result that the mover can claim by declaration: 0 none, 1 a draw, 2 a win.

    ``Position.declaration`` describes the rules.
    """
    zone = const(ZONE)
    if rule == NO_RULE or in_check or not some(mine.king & zone):
        return 0
    men = count(mine.men & zone) - 1
    if men < 10:
        return 0
    majors = count((mine.bishop | mine.rook | mine.horse | mine.dragon) & zone)
    points = men + 4 * majors
    for slot in range(7):
        points += hands[slot] * (1 if slot < 5 else 5)
    if rule == RULE_27:
        return 2 if points >= 28 - side else 0
    return 2 if points >= 31 else (1 if points >= 24 else 0)


@njit(forceinline=True)
def legal_rows(view, game):
    """Return the legal moves of a position, and other facts about the position.

    The result has four parts: the destinations of the 27 move types; whether the mover is in check;
    the mover's pieces; and three sets of squares. The first set contains the squares that the
    opponent attacks. The second set contains the squares that the mover attacks. The third set
    contains the squares that at least two of the mover's pieces attack. The second and third sets
    leave out some attacks: see ``board_moves``.
    """
    mine, theirs = read_view(view)
    threat = find_threats(mine, theirs)
    moves, reach, twice = board_moves(mine, theirs, threat)
    rows = moves + drops(game.hands, mine, theirs, threat, reach)
    return rows, some(threat.danger & mine.king), mine, (threat.danger, reach, twice)


# --- 3. Making a move -----------------------------------------------------------------------------


@njit
def piece_key(side, code, square):
    """Return a piece's Zobrist number. ``code`` and ``square`` are as ``side`` sees the board."""
    if side:
        code = code + THEIRS if code <= THEIRS else code - THEIRS
        square = 80 - square
    return ZOBRIST[code, square]


@njit
def full_key(game):
    """Compute the Zobrist key of a position from the whole board and both hands."""
    side = np.int64(game.side)
    key = ZOBRIST_SIDE if side else np.uint64(0)
    for square in range(81):
        code = np.int64(game.board[square])
        if code:
            key ^= piece_key(side, code, square)
    for slot in range(7):
        key ^= ZOBRIST_HAND[side, slot, np.int64(game.hands[slot])]
        key ^= ZOBRIST_HAND[1 - side, slot, np.int64(game.hands[7 + slot])]
    return key


@njit
def origin(board, kind, to):
    """Return the square from which a board move of type ``kind`` (0..19) reaches ``to``."""
    delta = DELTA[kind % 10]
    square = to - delta
    while board[square] == 0:
        square -= delta
    return square


@njit
def make_move(game, action):
    """Make a legal move in ``game``; return the new board as the next side to move sees it."""
    board, hands = game.board, game.hands
    view = load_view(board)
    side = np.int64(game.side)
    kind, to = action // 81, action % 81
    key = game.key ^ ZOBRIST_SIDE
    if kind >= 20:
        piece = np.int64(DROP_PIECE[kind - 20])
        slot = HAND[piece]
        held = np.int64(hands[slot])
        key ^= ZOBRIST_HAND[side, slot, held] ^ ZOBRIST_HAND[side, slot, held - 1]
        hands[slot] = held - 1
    else:
        square = origin(board, kind, to)
        piece = np.int64(board[square])
        key ^= piece_key(side, piece, square)
        view = put(view, square, 0)
        if kind >= 10:
            piece += 8
        taken = np.int64(board[to])
        if taken:
            key ^= piece_key(side, taken, to)
            slot = HAND[taken - THEIRS]
            held = np.int64(hands[slot])
            key ^= ZOBRIST_HAND[side, slot, held] ^ ZOBRIST_HAND[side, slot, held + 1]
            hands[slot] = held + 1
    game.key = key ^ piece_key(side, piece, to)
    view = turn_view(put(view, to, piece))
    store_view(view, board)
    for slot in range(7):
        mine = hands[slot]
        hands[slot] = hands[slot + 7]
        hands[slot + 7] = mine
    game.side = 1 - side
    game.ply += 1
    return view


@njit(inline="always")
def remember(tags, keys, g, ply, key):
    """Add the Zobrist key of the position at ``ply`` to the history of game ``g``."""
    keys[g, ply] = key
    tags[g, ply & 1, ply >> 1] = np.uint16(key)


@njit(inline="always")
def earlier_occurrences(tags, keys, g, ply, key):
    """Return the number of earlier occurrences of the position at ``ply``, and the earliest ply.

    The side to move is part of the position, so only plies of the same parity are searched. The
    search first compares 16-bit tags, because this is fast. Then it compares the whole key of each
    hit.
    """
    parity, end = ply & 1, ply >> 1
    found, earliest = 0, ply
    for block in range(0, end, 64):
        hits = equal_lanes(tags, g, parity, block, np.uint16(key))
        if end - block < 64:
            hits &= (np.uint64(1) << np.uint64(end - block)) - np.uint64(1)
        while hits:
            past = 2 * (block + first(hits)) + parity
            hits &= hits - np.uint64(1)
            if keys[g, past] == key:
                found += 1
                earliest = min(earliest, past)
    return found, earliest


@njit
def repetition_result(game, earliest):
    """Return a repetition's result for the side to move: +1 (win), 0 (draw) or -1 (loss).

    A side loses if only this side gave check with every move since the first occurrence of the
    position.
    """
    moves = (game.ply - earliest) // 2  # number of moves of each side since ``earliest``
    mover = game.checks[game.side] >= moves
    other = game.checks[1 - game.side] >= moves
    return np.int64(other) - np.int64(mover)


@njit(inline="always")
def survey(view, game, tags, keys, g, rule):
    """Update a game's record and history for a new position; return the moves and the result.

    ``view`` is the board of the position. The returned tuple contains the sets of legal moves, the
    sets of attacked squares, the reason and the result. The reason says why the game is over; it is
    0 if the game is not over. The result is +1, 0 or -1, for the side to move. The maximum ply is
    not checked here.
    """
    rows, in_check, mine, attacks = legal_rows(view, game)
    ply = np.int64(game.ply)
    game.in_check = in_check
    if ply:
        last = 1 - game.side  # the side that has just moved
        game.checks[last] = game.checks[last] + 1 if in_check else 0
    found, earliest = earlier_occurrences(tags, keys, g, ply, game.key)
    # The search comes before the store. Otherwise, the search would wait for the store to end.
    remember(tags, keys, g, ply, game.key)
    game.earlier = min(found, 255)
    if found >= 3:
        result = repetition_result(game, earliest)
        return rows, attacks, (PERPETUAL_CHECK if result else REPETITION), result
    if declared(game.hands, np.int64(game.side), mine, in_check, rule) == 2:
        return rows, attacks, DECLARATION, 1
    if not some(union(rows)):
        return rows, attacks, (CHECKMATE if in_check else NO_MOVES), -1
    return rows, attacks, 0, 0


@njit(inline="always")
def observe(game, attacks, observation, g, ply, max_ply):
    """Write the compact observation of a position to ``observation[g]`` (uint8[131]).

    ``ply`` is the ply that the observation contains, as a share of ``max_ply``.
    """
    for k in range(81):
        observation[g, k] = game.board[k]
    for k in range(14):
        observation[g, 81 + k] = game.hands[k]
    observation[g, 95] = game.earlier
    observation[g, 96] = game.in_check
    observation[g, 97] = min(ply * 255 // max_ply, 255)
    theirs, mine, twice = attacks
    store_squares(observation, g, 98, theirs)
    store_squares(observation, g, 109, mine)
    store_squares(observation, g, 120, twice)


@njit
def next_random(state):
    """Return the next state and the next random number (uint64) of the generator splitmix64."""
    state += np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@njit
def below(number, limit):
    """Map the upper half of a random uint64 to a number in 0..limit-1; limit < 2**31."""
    return np.int64(((number >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32))


@njit
def restart(game, starts, g, opening, pool, reset_share):
    """Choose the start of the next game in row ``g``.

    If ``again`` is 1 in the row's previous start, the next game has the same start, and the frozen
    opponent plays the other side. Otherwise, the start comes from ``pool`` with the probability
    ``reset_share``, and is ``opening`` in all other cases.
    """
    if starts[g].again:
        starts[g].again = 0
        starts[g].opponent = -starts[g].opponent
        starts[g].rng = game.rng
        return
    rng, number = next_random(game.rng)
    if len(pool) and np.float64(number >> np.uint64(11)) * 2.0**-53 < reset_share:
        rng, number = next_random(rng)
        starts[g] = pool[below(number, len(pool))]
    else:
        starts[g] = opening[0]
    starts[g].rng = rng
    starts[g].opponent = 0
    starts[g].again = 0


# --- 4. Mates -------------------------------------------------------------------------------------

# How the mover can attack the opponent's king. ``flights``: squares that the king could enter now.
# ``guarded``: squares that the mover attacks; attacks pass through the king. ``rays`` and
# ``shields``: see ``Threat``. The other fields: squares from which a piece gives check.
Siege = namedtuple(
    "Siege", "king empty flights guarded rays shields pawn lance knight silver gold bishop rook"
)
# Arrays that the search for a mate in three overwrites. ``lines`` (GAME[2]): the position after the
# first move, and the position after the reply. The others are masks (uint64[1, 35]). ``checks``:
# first moves that may give check. ``replies``: legal replies. ``next_legal``: legal moves after the
# reply. ``next_checks``: moves after the reply that may give check.
Scratch = namedtuple("Scratch", "lines checks replies next_legal next_checks")
# The search for a mate in three gives up after this number of searches for a mate in one.
MATE_NODES = 400


@njit(inline="always")
def new_scratch():
    """Return memory for ``mate_in_three``."""
    return Scratch(
        np.empty(2, GAME),
        np.empty((1, MASK_WORDS), np.uint64),
        np.empty((1, MASK_WORDS), np.uint64),
        np.empty((1, MASK_WORDS), np.uint64),
        np.empty((1, MASK_WORDS), np.uint64),
    )


@njit(inline="always")
def lay_siege(view, mine, theirs):
    """Return how the mover can attack the opponent's king."""
    me, foe = read_view(turn_view(view))
    threat = find_threats(me, foe)
    king, empty = theirs.king, const(ALL) & ~(mine.men | theirs.men)
    down = slide(king, empty, DOWN)
    corners = step(king, DOWN_LEFT) | step(king, DOWN_RIGHT)
    upper = step(king, UP_LEFT) | step(king, UP_RIGHT)
    head = step(king, DOWN)
    return Siege(
        king,
        empty,
        turned(neighbours(me.king) & ~(me.men | threat.danger)),
        turned(threat.danger),
        turned(threat.rays),
        turned(threat.shields),
        head,
        down,
        step(king, FOE_JUMP_LEFT) | step(king, FOE_JUMP_RIGHT),
        head | corners | upper,
        head | corners | step(king, UP) | step(king, LEFT) | step(king, RIGHT),
        (slide(king, empty, UP_LEFT) | slide(king, empty, UP_RIGHT))
        | (slide(king, empty, DOWN_LEFT) | slide(king, empty, DOWN_RIGHT)),
        (down | slide(king, empty, UP)) | (slide(king, empty, LEFT) | slide(king, empty, RIGHT)),
    )


@njit(inline="always")
def check_squares(mine, siege):
    """Return the squares where a move can give check, as 27 sets in the order of the move types.

    A check on a square outside these sets is impossible; a move to a square in them need not check.
    """
    strong = (
        (siege.silver | siege.gold)
        | where(count(mine.bishop | mine.horse), siege.bishop)
        | where(count(mine.rook | mine.dragon), siege.rook)
    )
    plain = strong | where(count(mine.lance), siege.lance)
    jump, landing = siege.knight, siege.gold
    if some(siege.shields):  # any move of these pieces can discover a check
        plain = strong = jump = landing = const(ALL)
    simple = (plain, plain, plain, plain, plain, plain, plain, plain)
    promoted = (strong, strong, strong, strong, strong, strong, strong, strong)
    dropped = (siege.pawn, siege.lance, siege.knight, siege.silver, siege.bishop, siege.rook)
    return (*simple, jump, jump, *promoted, landing, landing, *dropped, siege.gold)


@njit
def attacks_from(piece, at, empty):
    """Return the squares that the mover's ``piece`` attacks from ``at`` (a set of one square)."""
    if piece == PAWN:
        return step(at, UP)
    if piece == LANCE:
        return slide(at, empty, UP)
    if piece == KNIGHT:
        return step(at, JUMP_LEFT) | step(at, JUMP_RIGHT)
    corners = step(at, UP_LEFT) | step(at, UP_RIGHT)
    if piece == SILVER:
        return corners | step(at, UP) | step(at, DOWN_LEFT) | step(at, DOWN_RIGHT)
    if piece == GOLD or 9 <= piece <= 12:
        return corners | step(at, UP) | step(at, LEFT) | step(at, RIGHT) | step(at, DOWN)
    found = neighbours(at) if piece in (KING, HORSE, DRAGON) else const(NONE)
    if piece in (BISHOP, HORSE):
        found |= slide(at, empty, UP_LEFT) | slide(at, empty, UP_RIGHT)
        found |= slide(at, empty, DOWN_LEFT) | slide(at, empty, DOWN_RIGHT)
    if piece in (ROOK, DRAGON):
        found |= slide(at, empty, UP) | slide(at, empty, DOWN)
        found |= slide(at, empty, LEFT) | slide(at, empty, RIGHT)
    return found


@njit
def is_mated(view, hands):
    """Return whether the mover is in check and has no legal move."""
    mine, theirs = read_view(view)
    threat = find_threats(mine, theirs)
    if not some(threat.checkers) or some(neighbours(mine.king) & ~(mine.men | threat.danger)):
        return False
    moves, reach, _ = board_moves(mine, theirs, threat)
    return not some(union(moves)) and not some(union(drops(hands, mine, theirs, threat, reach)))


@njit
def pack_checks(view, checks):
    """Write the actions that may give check to ``checks[0]``; return the ``Siege``.

    All legal moves that give check are among these actions. The others need not be legal.
    """
    mine, theirs = read_view(view)
    siege = lay_siege(view, mine, theirs)
    pack(checks, 0, check_squares(mine, siege))
    return siege


@njit(inline="always")
def mating_move(game, legal, checks):
    """Return the lowest action that mates at once, or -1.

    ``legal`` (uint64[35]) contains the legal actions. ``checks`` (uint64[1, 35]) is overwritten.
    """
    view = load_view(game.board)
    siege = pack_checks(view, checks)
    for w in range(MASK_WORDS):
        word = checks[0, w] & legal[w]
        while word:
            action = w * 64 + first(word)
            word &= word - np.uint64(1)
            if mates_at_once(game, view, siege, action):
                return action
    return -1


@njit(inline="always")
def mates_at_once(game, view, siege, action):
    """Return whether a legal move, which may give check, mates."""
    kind, to = action // 81, action % 81
    target = only(to)
    after, opened, discovers = view, False, False
    if kind >= 20:
        # A pawn drop may not mate. The king captures a piece next to it that nothing guards.
        if kind == 20 or some(target & ~siege.guarded & neighbours(siege.king)):
            return False
        piece = np.int64(DROP_PIECE[kind - 20])
    else:
        start = origin(game.board, kind, to)
        piece = np.int64(game.board[start])
        if kind >= 10:
            piece += 8
        after = put(view, start, 0)
        opened, discovers = some(siege.rays & only(start)), some(siege.shields & only(start))
    attacked = attacks_from(piece, target, siege.empty | siege.king)
    if not (discovers or some(attacked & siege.king)):
        return False
    # Only the moved piece, or a line that it has left, can guard further squares.
    if not opened and some(siege.flights & ~(attacked | target)):
        return False
    return is_mated(turn_view(put(after, to, piece)), game.hands[7:])


@njit
def pack_legal(game, view, mask):
    """Write the legal actions to ``mask[0]``; return whether the mover is in check."""
    rows, in_check, _, _ = legal_rows(view, game)
    pack(mask, 0, rows)
    return in_check


@njit(inline="always")
def mate_in_three(game, legal, g, tags, keys, scratch):
    """Return the lowest action that begins a proven mate in three, or -1.

    The first move gives check, and the mover can mate after every reply. A line that reaches a
    position for the fourth time is no mate. The search gives up after ``MATE_NODES`` searches for
    a mate in one. ``scratch`` is overwritten.
    """
    nodes = 0
    lines, checks, replies = scratch.lines, scratch.checks, scratch.replies
    pack_checks(load_view(game.board), checks)
    for w in range(MASK_WORDS):
        word = checks[0, w] & legal[w]
        while word:
            action = w * 64 + first(word)
            word &= word - np.uint64(1)
            lines[0] = game
            view = make_move(lines[0], action)
            if pack_legal(lines[0], view, replies):
                proven, nodes = every_reply_loses(g, tags, keys, scratch, nodes)
                if proven and not is_fourth(lines[0], g, tags, keys):
                    return action
    return -1


@njit(inline="always")
def every_reply_loses(g, tags, keys, scratch, nodes):
    """Return whether the mover of ``scratch.lines[0]`` is mated after each of ``scratch.replies``.

    Also return the number ``nodes`` of searches for a mate in one, with those made here.
    """
    lines, replies = scratch.lines, scratch.replies
    for w in range(MASK_WORDS):
        word = replies[0, w]
        while word:
            if nodes == MATE_NODES:
                return False, nodes
            nodes += 1
            action = w * 64 + first(word)
            word &= word - np.uint64(1)
            lines[1] = lines[0]
            pack_legal(lines[1], make_move(lines[1], action), scratch.next_legal)
            mate = mating_move(lines[1], scratch.next_legal[0], scratch.next_checks)
            if mate < 0 or is_fourth(lines[1], g, tags, keys):
                return False, nodes
    return True, nodes


@njit(inline="always")
def is_fourth(game, g, tags, keys):
    """Return whether the position of ``game`` has occurred three times in the history of ``g``."""
    return earlier_occurrences(tags, keys, g, np.int64(game.ply), game.key)[0] >= 3


# --- 5. Long mates --------------------------------------------------------------------------------

# The solver is df-pn, a depth-first proof-number search (A. Nagai, "Df-pn algorithm for searching
# AND/OR trees and its applications", University of Tokyo, 2002). The attacker, who moves at even
# depths, only gives checks; the defender makes every legal reply. A position's proof number ``pn``
# estimates how many positions must be mates so that the position is one; the disproof number ``dn``
# is the same for the defender. A position is searched until one of the numbers reaches a limit. The
# limits leave a quarter more than the second-best move has (J. Pawlewicz and L. Lew, "Improving
# depth-first PN-search: 1 + epsilon trick", 2006).
#
# Two kinds of facts in the table are true whatever moves led to the position: "the attacker mates
# within n plies", and "the attacker does not mate within n plies" (ANY: he never mates). A search
# without a limit also cuts a line that repeats a position. No mate needs such a line, so mates stay
# true; but a disproof may depend on the line (A. Kishimoto and M. Mueller, "A general solution to
# the graph history interaction problem", 2004). ``leans`` is the depth of the shallowest position
# that a disproof needs to be on the line. A disproof that needs a position above its own is a
# guess: ``guessed``. If guesses refute the root, ``certify_none`` must confirm them.
#
# The table's key leaves out the hands. A mate also holds if the attacker has more pieces in hand on
# the same board: then the defender has fewer, and the attacker need not use his. The reverse is
# true of disproofs.

UNSOLVED, MATES, FAILS = range(3)
ANY = 65535  # a length that is greater than all others
FREE = 32767  # ``leans`` of a disproof that holds on all lines
GUESS = -1  # ``leans`` of a guess in the table
HIGH = 1 << 28  # limit that no proof number reaches
MOST_EFFORT = 0xFFFFFFFF
BUCKET = 8  # entries in which a position may be stored
WIDEST = 600  # a position has at most 593 legal moves
# A hand as one number: the place of each slot's count (P L N S G B R). A bit above each count stays
# 0, so that one subtraction compares all counts.
HAND_PLACE = np.array([0, 6, 10, 14, 18, 22, 25], np.int64)
HAND_GUARDS = sum(1 << place for place in (5, 9, 13, 17, 21, 24, 27))

# What is known of a position. ``proven``: length of the shortest known mate, or 0. ``refuted``: the
# greatest length for which there is no mate, or 0.
ENTRY = np.dtype(
    [
        ("key", np.uint64),
        ("hand", np.uint32),  # the attacker's
        ("effort", np.uint32),  # positions visited to learn this; 0 if the entry is empty
        ("pn", np.int32),
        ("dn", np.int32),
        ("proven", np.uint16),
        ("refuted", np.uint16),
        ("guessed", np.uint8),  # 1 if there may be no mate of any length
    ],
    align=True,
)
# A move, and what is known of the position after it. ``length`` belongs to a solved position: the
# length of its mate, or the greatest length without one. ``after`` is the index of the drop on the
# same square that must be proven first, or -1.
CHILD = np.dtype(
    [
        ("key", np.uint64),
        ("hand", np.uint32),
        ("pn", np.int32),
        ("dn", np.int32),
        ("after", np.int32),
        ("action", np.int16),
        ("leans", np.int16),
        ("length", np.uint16),
        ("state", np.uint8),
    ],
    align=True,
)
# A position of the line that is searched now. Its moves are ``children[start : start + count]``,
# and ``at`` is the index of the move that is searched. ``limit``: plies left for a mate, or ANY.
FRAME = np.dtype(
    [
        ("key", np.uint64),
        ("entered", np.int64),  # positions visited before this one
        ("hand", np.uint32),
        ("start", np.int32),
        ("count", np.int32),
        ("at", np.int32),
        ("pn_limit", np.int32),
        ("dn_limit", np.int32),
        ("limit", np.int32),
        ("longest", np.int32),  # used by ``verify``
    ],
    align=True,
)
# A verified position: two independent keys, and the length of its mate.
VERIFIED = np.dtype([("key", np.uint64), ("check", np.uint64), ("length", np.int64)], align=True)
# The memory of a solver. ``games`` (GAME[D]) and ``frames`` (FRAME[D]): the line. ``legal`` and
# ``checks`` (uint64[1, 35]) and ``last`` (int64[81]) are overwritten. ``barred`` (uint64[B]): keys
# of positions that would end the game by repetition. ``cursor`` (int64[2]): depth of the line, and
# number of positions visited.
Hunt = namedtuple("Hunt", "table games frames children legal checks last barred cursor")


@njit(inline="always")
def holds(more, less):
    """Return whether the hand ``more`` contains all pieces of the hand ``less``."""
    return ((np.int64(more) | HAND_GUARDS) - np.int64(less)) & HAND_GUARDS == HAND_GUARDS


@njit
def identify(game, attacking, barred):
    """Return the table's key of a position, and the attacker's hand as a number."""
    side, hands = np.int64(game.side), game.hands
    base = 0 if attacking else 7
    hand = 0
    for slot in range(7):
        hand |= np.int64(hands[base + slot]) << HAND_PLACE[slot]
    key = game.key
    if len(barred) == 0:  # else positions with other hands may be barred: keep them apart
        for slot in range(7):
            key ^= ZOBRIST_HAND[side, slot, np.int64(hands[slot])]
            key ^= ZOBRIST_HAND[1 - side, slot, np.int64(hands[7 + slot])]
    return key, np.uint32(hand)


@njit(inline="always")
def bucket(table, key):
    """Return the index of the first entry in which ``key`` may be stored."""
    return np.int64(key & np.uint64(len(table) - 1)) & ~(BUCKET - 1)


@njit
def look_up(table, key, hand, limit):
    """Return what the table knows of a position: state, length, ``leans``, pn and dn.

    The state says whether the attacker mates within ``limit`` plies. The numbers pn and dn are 0 if
    the table does not know them.
    """
    pn, dn, guessed = 0, 0, False
    start = bucket(table, key)
    for i in range(start, start + BUCKET):
        entry = table[i]
        if entry.key != key or entry.effort == 0:
            continue
        if entry.proven and entry.proven <= limit and holds(hand, entry.hand):
            return MATES, np.int64(entry.proven), FREE, 0, 0
        if entry.refuted >= limit and holds(entry.hand, hand):
            return FAILS, np.int64(entry.refuted), FREE, 0, 0
        if entry.hand == hand:
            pn, dn, guessed = np.int64(entry.pn), np.int64(entry.dn), entry.guessed != 0
    if guessed and limit == ANY:
        return FAILS, ANY, GUESS, 0, 0
    return UNSOLVED, 0, FREE, pn, dn


@njit
def entry_of(table, key, hand):
    """Return the index of a position's entry; the entry with the least effort may be replaced."""
    start = bucket(table, key)
    worst = start
    for i in range(start, start + BUCKET):
        entry = table[i]
        if entry.key == key and entry.hand == hand and entry.effort:
            return i
        if entry.effort < table[worst].effort:
            worst = i
    entry = table[worst]
    entry.key, entry.hand, entry.effort = key, hand, 0
    entry.pn = entry.dn = entry.proven = entry.refuted = entry.guessed = 0
    return worst


@njit
def count_replies(game, view):
    """Return the number of legal moves, or -1 if the mover is not in check.

    Drops on one square count as one move.
    """
    rows, in_check, _, _ = legal_rows(view, game)
    return total(rows[:20]) + count(union(rows[20:])) if in_check else -1


@njit
def expand_line(hunt, d):
    """Write the moves of the position at depth ``d``, with what is known of the positions after."""
    games, frame, attacking = hunt.games, hunt.frames[d], d % 2 == 0
    game, legal = games[d], hunt.legal
    view = load_view(game.board)
    pack_legal(game, view, legal)
    if attacking:
        pack_checks(view, hunt.checks)
    else:
        hunt.last[:] = -1
    frame.count = 0
    for w in range(MASK_WORDS):
        word = legal[0, w] & hunt.checks[0, w] if attacking else legal[0, w]
        while word:
            action = w * 64 + first(word)
            word &= word - np.uint64(1)
            games[d + 1] = game
            after = make_move(games[d + 1], action)
            replies = count_replies(games[d + 1], after) if attacking else 1
            if replies < 0:
                continue
            index = frame.start + frame.count
            child = hunt.children[index]
            child.action, child.after = action, -1
            if not attacking and action >= 20 * 81:
                child.after = hunt.last[action % 81]
                hunt.last[action % 81] = index
            recall(hunt, d, child, replies)
            frame.count += 1
            if replies == 0:  # mate: no other move is needed
                hunt.children[frame.start] = child
                frame.count = 1
                return


@njit
def recall(hunt, d, child, replies):
    """Write what is known of ``games[d + 1]``, the position after a move at depth ``d``."""
    game, frames = hunt.games[d + 1], hunt.frames
    attacking, limit = d % 2 == 0, left(frames[d].limit)
    child.key, child.hand = identify(game, not attacking, hunt.barred)
    child.pn, child.dn, child.leans, child.state, child.length = replies, 1, FREE, UNSOLVED, 0
    if replies == 0:
        child.state = MATES
        return
    if limit == 0:
        child.state = FAILS
        return
    for key in hunt.barred:
        if key == game.key:
            child.state, child.length = FAILS, ANY
            return
    if limit == ANY:
        for past in range(d - 1, -1, -2):
            if frames[past].key == child.key and frames[past].hand == child.hand:
                child.state, child.length, child.leans = FAILS, ANY, past
                return
    state, length, leans, pn, dn = look_up(hunt.table, child.key, child.hand, limit)
    child.state, child.length, child.leans = state, length, leans
    if pn:
        child.pn, child.dn = pn, dn


@njit(inline="always")
def left(limit):
    """Return the plies that are left for a mate after one more move."""
    return limit if limit == ANY else limit - 1


@njit(inline="always")
def longer(length):
    """Return a length that is one ply longer."""
    return min(np.int64(length) + 1, ANY)


@njit(inline="always")
def weigh(children, frame, attacking):
    """Return what its moves say of a position: see ``weigh_checks`` and ``weigh_replies``."""
    start, count = np.int64(frame.start), np.int64(frame.count)
    if attacking:
        return weigh_checks(children, start, count)
    return weigh_replies(children, start, count)


@njit
def weigh_checks(children, start, count):
    """Return what the checks say of an attacker's position.

    That is: state, length, ``leans``, pn, dn, the index of the best move, and the second-best pn.
    """
    shortest, refuted, leans = ANY, ANY, FREE
    best, pn, second, dn = -1, HIGH, HIGH, 0
    for i in range(start, start + count):
        child = children[i]
        if child.state == MATES:
            shortest = min(shortest, np.int64(child.length))
        elif child.state == FAILS:
            refuted, leans = min(refuted, np.int64(child.length)), min(leans, np.int64(child.leans))
        else:
            dn += child.dn
            if child.pn < pn:
                best, pn, second = i, np.int64(child.pn), pn
            elif child.pn < second:
                second = np.int64(child.pn)
    if shortest < ANY:
        return MATES, longer(shortest), FREE, 0, HIGH, -1, HIGH
    if best < 0:
        return FAILS, longer(refuted), leans, HIGH, 0, -1, HIGH
    return UNSOLVED, 0, FREE, pn, min(dn, HIGH - 1), best, second


@njit
def weigh_replies(children, start, count):
    """Return what the replies say of a defender's position.

    That is: state, length, ``leans``, pn, dn, the index of the best move, and the second-best dn.
    Only one drop on a square counts: the others wait until a mate is proven after it, because they
    are mostly refuted in the same way.
    """
    longest, refuted, leans = 0, -1, GUESS - 1
    best, dn, second, pn = -1, HIGH, HIGH, 0
    for i in range(start, start + count):
        child = children[i]
        if child.state == MATES:
            longest = max(longest, np.int64(child.length))
        elif child.state == FAILS:
            if child.leans > leans or (child.leans == leans and child.length > refuted):
                refuted, leans = np.int64(child.length), np.int64(child.leans)
        elif child.after < 0 or children[child.after].state == MATES:
            pn += child.pn
            if child.dn < dn:
                best, dn, second = i, np.int64(child.dn), dn
            elif child.dn < second:
                second = np.int64(child.dn)
    if refuted >= 0:
        return FAILS, longer(refuted), leans, HIGH, 0, -1, HIGH
    if best < 0:
        return MATES, longer(longest), FREE, 0, HIGH, -1, HIGH
    return UNSOLVED, 0, FREE, min(pn, HIGH - 1), dn, best, second


@njit
def enter(hunt, d, limit, pn_limit, dn_limit):
    """Begin to search ``games[d]``, the position after the move ``at`` of depth ``d - 1``."""
    frames = hunt.frames
    frame = frames[d]
    frame.key, frame.hand = identify(hunt.games[d], d % 2 == 0, hunt.barred)
    frame.limit, frame.pn_limit, frame.dn_limit = limit, pn_limit, dn_limit
    frame.start = frames[d - 1].start + frames[d - 1].count if d else 0
    frame.at, frame.longest = -1, 0
    frame.entered = hunt.cursor[1]
    hunt.cursor[0] = d
    hunt.cursor[1] += 1
    expand_line(hunt, d)


@njit
def is_full(hunt, d):
    """Return whether there is no memory for a position below depth ``d``."""
    frame = hunt.frames[d]
    room = len(hunt.children) - frame.start - frame.count
    return d + 2 >= len(hunt.frames) or room < WIDEST


@njit
def learn(hunt, d, state, length, leans, pn, dn):
    """Store what is known of the position at depth ``d`` in the table."""
    table, frame = hunt.table, hunt.frames[d]
    effort = hunt.cursor[1] - frame.entered
    entry = table[entry_of(table, frame.key, frame.hand)]
    entry.effort = min(np.int64(entry.effort) + effort, MOST_EFFORT)
    if state == MATES:
        entry.proven = min(np.int64(entry.proven), length) if entry.proven else length
    elif state == UNSOLVED:
        entry.pn, entry.dn = pn, dn
    elif leans >= d:
        entry.refuted = max(np.int64(entry.refuted), length)
    else:
        entry.guessed = 1


@njit
def descend(hunt, d, best, second, pn, dn):
    """Search the move ``best`` of the position at depth ``d``, whose numbers are ``pn``, ``dn``."""
    frame, child = hunt.frames[d], hunt.children[best]
    if d % 2 == 0:
        pn_limit = min(np.int64(frame.pn_limit), second + second // 4 + 1)
        dn_limit = frame.dn_limit - dn + child.dn
    else:
        pn_limit = frame.pn_limit - pn + child.pn
        dn_limit = min(np.int64(frame.dn_limit), second + second // 4 + 1)
    frame.at = best
    hunt.games[d + 1] = hunt.games[d]
    make_move(hunt.games[d + 1], np.int64(child.action))
    enter(hunt, d + 1, left(frame.limit), pn_limit, dn_limit)


# --- 6. Entry points ------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def check_actions(mask, actions):
    """Return the index of the first game whose action is not legal, or -1 if all are legal."""
    for g in range(len(actions)):
        action = np.int64(actions[g])
        if action < 0 or action >= ACTIONS:
            return g
        if not (mask[g, action >> 6] >> np.uint64(action & 63)) & np.uint64(1):
            return g
    return -1


@njit(cache=True, nogil=True)
def visit_games(
    lo, hi, actions, games, tags, keys, observation, mask, reason, result, rule, max_ply
):
    """Make a move in each of ``games[lo:hi]``; a negative action makes no move.

    For every game, update the record and the history, and write the mask and the observation.
    Write the reason why the game is over to ``reason``, or 0 if the game is not over. Write the
    result for the side to move to ``result``. The arrays ``reason`` and ``result`` are int64 and
    have one element for each game. No game is reset.
    """
    for g in range(lo, hi):
        game = games[g]
        if actions[g] >= 0:
            view = make_move(game, np.int64(actions[g]))
        else:
            view = load_view(game.board)
            game.key = full_key(game)
        rows, attacks, reason[g], result[g] = survey(view, game, tags, keys, g, rule)
        pack(mask, g, rows)
        observe(game, attacks, observation, g, np.int64(game.ply), max_ply)


@njit(cache=True, nogil=True)
def visit_leaves(
    tree, node, action, parents, games, tags, keys, roots, root_mask, trained_max_ply, ply_offset,
    observation, mask, reason, result, mate, rule, max_ply, mates,
):  # fmt: skip
    """Make a move in each of M nodes of search trees, whose positions become new nodes.

    The new position is in a game whose earlier moves are the tree's game up to the root, then the
    moves from the root. A mate that the maximum ply cuts is no mate.

    Args:
        tree, node, action: int64[M]: the tree, the new node, and the action of its parent that
            leads to the node. Node 0 is a tree's root. A negative action makes no move: it stands
            for the root.
        parents: int32[T, N]: the parent of each node.
        games: GAME[T, N]: positions of the nodes.
        tags, keys: history of the trees' games up to the roots; later plies are overwritten.
        roots, root_mask: uint8[T, 131], uint64[T, 35]: observations and masks of the roots.
        trained_max_ply, ply_offset: int64[T]: the observation's ply is the game's ply and the
            offset, as a share of the maximum ply of the network's training games.
        observation, mask: uint8[M, 131], uint64[M, 35]: written.
        reason, result: int64[M]: written: why the game is over, and the mover's result.
        mate: int64[M]: written: length of a mate that begins here, 1 or 3, or 0.
        rule: entering-king rule.
        max_ply: ply at which a game ends without a winner.
        mates: longest mate that is searched: 0, 1 or 3.
    """
    checks = np.empty((1, MASK_WORDS), np.uint64)
    scratch = new_scratch()
    for j in range(len(tree)):
        t, mate[j] = tree[j], 0
        if action[j] < 0:
            observation[j], mask[j], reason[j], result[j] = roots[t], root_mask[t], 0, 0
            continue
        parent = parents[t, node[j]]
        past = parent
        while past > 0:
            remember(tags, keys, t, np.int64(games[t, past].ply), games[t, past].key)
            past = parents[t, past]
        games[t, node[j]] = games[t, parent]
        game = games[t, node[j]]
        view = make_move(game, action[j])
        rows, attacks, reason[j], result[j] = survey(view, game, tags, keys, t, rule)
        pack(mask, j, rows)
        observe(
            game, attacks, observation, j, np.int64(game.ply) + ply_offset[t], trained_max_ply[t]
        )
        if reason[j]:
            continue
        if game.ply >= max_ply:
            reason[j], result[j] = MAX_PLY, 0
        elif mates and mating_move(game, mask[j], checks) >= 0:
            mate[j] = 1
        elif mates == 3 and game.ply + 2 < max_ply:
            mate[j] = 3 * (mate_in_three(game, mask[j], t, tags, keys, scratch) >= 0)


@njit(cache=True, nogil=True)
def claim(games, g, rule):
    """Return the result that the mover of game ``g`` can claim, as a number: see ``declared``."""
    game = games[g]
    mine, theirs = read_view(load_view(game.board))
    in_check = some(find_threats(mine, theirs).danger & mine.king)
    return declared(game.hands, np.int64(game.side), mine, in_check, rule)


@njit(cache=True, nogil=True)
def step_games(
    lo, hi, actions, games, starts, opening, pool, tags, keys, observation, mask, number,
    reward, terminated, truncated, reason, winner, plies, final, played, rule, max_ply, reset_share,
):  # fmt: skip
    """Make one legal move in each of ``games[lo:hi]``; a negative action makes no move.

    ``VectorEnv`` and ``StepResult`` describe the arrays. A new game replaces a finished game at
    once.
    """
    for g in range(lo, hi):
        action = np.int64(actions[g])
        if action < 0:
            continue
        game = games[g]
        view = make_move(game, action)
        fresh = False
        while True:
            rows, attacks, why, result = survey(view, game, tags, keys, g, rule)
            observe(game, attacks, observation, g, np.int64(game.ply), max_ply)
            if fresh:
                break
            over = why != 0
            cut = not over and game.ply >= max_ply
            reward[g] = -result
            terminated[g] = over
            truncated[g] = cut
            reason[g] = MAX_PLY if cut else why
            winner[g] = result * (1 - 2 * np.int64(game.side))
            plies[g] = game.ply
            played[g] = number[g]
            if not (over or cut):
                break
            for k in range(OBSERVATION_BYTES):
                final[g, k] = observation[g, k]
            restart(game, starts, g, opening, pool, reset_share)
            games[g] = starts[g]
            game.key = full_key(game)
            number[g] += len(games)
            view = load_view(game.board)
            # The next pass of the loop calls ``survey`` for the new game. A second call of
            # ``survey`` here would double the size of the compiled code.
            fresh = True
        pack(mask, g, rows)


@njit(inline="always")
def row_count(mask, g):
    """Return the number of legal actions in row ``g`` of ``mask``."""
    n = 0
    for w in range(MASK_WORDS):
        n += count(mask[g, w])
    return n


@njit(cache=True, nogil=True)
def list_legal(mask, actions, counts):
    """Write the legal actions of each row of ``mask`` to the same row of ``actions`` (int64).

    Fill the rest of the row with -1. Write the number of legal actions of each row to ``counts``.
    """
    for g in range(len(mask)):
        n = 0
        for w in range(MASK_WORDS):
            word = mask[g, w]
            while word:
                actions[g, n] = w * 64 + first(word)
                word &= word - np.uint64(1)
                n += 1
        counts[g] = n
        actions[g, n:] = -1


@njit(cache=True, nogil=True)
def count_legal(mask, counts):
    """Write the number of legal actions of each row of ``mask`` to ``counts``."""
    for g in range(len(mask)):
        counts[g] = row_count(mask, g)


@njit
def nth_action(mask, g, n):
    """Return the n-th legal action (from 0) in row ``g`` of ``mask``."""
    w = 0
    ones = count(mask[g, 0])
    while n >= ones:
        n -= ones
        w += 1
        ones = count(mask[g, w])
    word = mask[g, w]
    for _ in range(n):
        word &= word - np.uint64(1)
    return w * 64 + first(word)


@njit(cache=True, nogil=True)
def choose_random(mask, rng, actions):
    """Write a uniformly random legal action for each row of ``mask`` to ``actions``.

    Returns the index of the first row without a legal action, or -1 if there is no such row.
    """
    state = rng[0]
    for g in range(len(mask)):
        n = row_count(mask, g)
        if n == 0:
            return g
        state, number = next_random(state)
        actions[g] = nth_action(mask, g, below(number, n))
    rng[0] = state
    return -1


@njit(cache=True, nogil=True)
def mix_masks(mask, checksum):
    """Mix every word of ``mask`` into ``checksum`` (uint64[1])."""
    mixed = checksum[0] * np.uint64(0x9E3779B97F4A7C15)
    for g in range(len(mask)):
        for w in range(MASK_WORDS):
            mixed += mask[g, w] * np.uint64(2 * (g * MASK_WORDS + w) + 1)
    checksum[0] = mixed


@njit(cache=True, nogil=True)
def choose_material(games, scratch, rng, actions):
    """Write the material player's move in each game to ``actions``.

    If a move leaves the opponent without a legal move, the player makes that move. Otherwise, the
    player captures the piece of the highest value, or makes any legal move if there is no capture.
    If several moves are equally good, the player chooses one of them at random. ``scratch``
    (GAME[1]) is overwritten. Returns the index of the first game without a legal move, or -1 if
    there is no such game.
    """
    mask = np.empty((1, MASK_WORDS), np.uint64)
    for g in range(len(games)):
        game = games[g]
        rows, _, _, _ = legal_rows(load_view(game.board), game)
        pack(mask, 0, rows)
        best, ties = np.int64(-1), np.uint64(0)
        for w in range(MASK_WORDS):
            word = mask[0, w]
            while word:
                action = w * 64 + first(word)
                word &= word - np.uint64(1)
                scratch[0] = game
                view = make_move(scratch[0], action)
                replies, _, _, _ = legal_rows(view, scratch[0])
                worth = np.int64(0)
                if not some(union(replies)):
                    worth = 1000
                elif action < 20 * 81 and game.board[action % 81]:
                    worth = VALUE[game.board[action % 81] - THEIRS]
                if worth > best:
                    best, ties = worth, np.uint64(0)
                if worth == best:  # each of the best moves gets the same probability
                    ties += np.uint64(1)
                    rng[0], number = next_random(rng[0])
                    if below(number, ties) == 0:
                        actions[g] = action
        if best < 0:
            return g
    return -1


@njit(cache=True, nogil=True)
def find_mates(lo, hi, games, mask, mate):
    """Write the lowest action that mates at once in each of ``games[lo:hi]`` to ``mate``, or -1.

    ``mask`` contains the legal actions.
    """
    checks = np.empty((1, MASK_WORDS), np.uint64)
    for g in range(lo, hi):
        mate[g] = mating_move(games[g], mask[g], checks)


@njit(cache=True, nogil=True)
def find_mates_in_three(lo, hi, games, mask, tags, keys, max_ply, mate):
    """Write an action that begins a proven mate in three to ``mate``, where ``mate`` is -1.

    Games without such an action, as far as ``mate_in_three`` can tell, keep -1. A mate that the
    maximum ply cuts is no mate.
    """
    scratch = new_scratch()
    for g in range(lo, hi):
        if mate[g] < 0 and games[g].ply + 2 < max_ply:
            mate[g] = mate_in_three(games[g], mask[g], g, tags, keys, scratch)


@njit(cache=True, nogil=True)
def begin_hunt(hunt, limit):
    """Begin to search for a mate of at most ``limit`` plies (or ANY) in ``hunt.games[0]``."""
    enter(hunt, 0, limit, HIGH, HIGH)


@njit(cache=True, nogil=True)
def hunt_mate(hunt, visits):
    """Go on with the search that ``begin_hunt`` began; return the state, length and ``leans``.

    The state is UNSOLVED if the search has visited ``visits`` more positions without a result. If
    ``leans`` is GUESS, ``certify_none`` must confirm that there is no mate.
    """
    cursor, children = hunt.cursor, hunt.children
    d, goal = cursor[0], cursor[1] + visits
    while True:
        frame = hunt.frames[d]
        state, length, leans, pn, dn, best, second = weigh(children, frame, d % 2 == 0)
        if state or pn >= frame.pn_limit or dn >= frame.dn_limit:
            learn(hunt, d, state, length, leans, pn, dn)
            if d == 0:
                return state, length, leans
            if leans >= d:
                leans = FREE
            d -= 1
            cursor[0] = d
            child = children[hunt.frames[d].at]
            child.state, child.length, child.leans, child.pn, child.dn = (
                state,
                length,
                leans,
                pn,
                dn,
            )
        elif cursor[1] >= goal:
            return UNSOLVED, 0, FREE
        elif is_full(hunt, d):
            child = children[best]
            child.state, child.length, child.leans = FAILS, 0, GUESS
        else:
            descend(hunt, d, best, second, pn, dn)
            d += 1


@njit
def second_key(game):
    """Return a key of a position that has nothing in common with its Zobrist key."""
    code = np.uint64(0xCBF29CE484222325) + np.uint64(game.side)
    for k in range(81):
        code = (code ^ np.uint64(game.board[k])) * np.uint64(0x100000001B3)
    for k in range(14):
        code = (code ^ np.uint64(game.hands[k])) * np.uint64(0x100000001B3)
    return code


@njit
def visit_once(visited, game):
    """Add a position to ``visited`` (VERIFIED[2**k]); return 1 if it is new, 0 if not, -1 if full.

    ``visited[0].length`` counts the positions.
    """
    last, check = len(visited) - 1, second_key(game)
    slot = np.int64(game.key & np.uint64(last))
    while visited[slot].key:
        if visited[slot].key == game.key and visited[slot].check == check:
            return 0
        slot = (slot + 1) & last
    if visited[0].length * 4 >= len(visited) * 3:
        return -1
    visited[slot].key, visited[slot].check = game.key, check
    visited[0].length += 1
    return 1


@njit(inline="always")
def defence(hunt):
    """Return the index of the reply at depth 1 that refutes, or -1; a guess comes last."""
    best, frame = -1, hunt.frames[1]
    for i in range(frame.start, frame.start + frame.count):
        child = hunt.children[i]
        if child.state == FAILS and (best < 0 or child.leans > hunt.children[best].leans):
            best = i
    return best


@njit(cache=True, nogil=True)
def certify_none(hunt, visited, pending):
    """Return whether the attacker never mates ``hunt.games[0]``: the guesses close a circle.

    Follow every check, and after each check one reply that the table says refutes. If these moves
    lead only to positions without checks, to true disproofs, and to positions that are followed
    too, the defender can stay among these positions for ever.

    Args:
        hunt: the memory of the search.
        visited: VERIFIED[2**k]: zeros; overwritten.
        pending: GAME[P]: overwritten.

    Returns:
        1 if so. 0 if a guess was wrong or is lost: it is removed from the table, and the search
        must be repeated for the position that is now in ``hunt.games[0]``. -1 if the memory is too
        small.
    """
    games, children, top = hunt.games, hunt.children, hunt.frames[0]
    visit_once(visited, games[0])
    pending[0] = games[0]
    waiting = 1
    while waiting:
        waiting -= 1
        games[0] = pending[waiting]
        enter(hunt, 0, ANY, HIGH, HIGH)
        for i in range(top.count):
            child = children[i]
            if child.state == MATES:
                return 0
            if child.state == FAILS and child.leans != GUESS:
                continue
            games[1] = games[0]
            make_move(games[1], np.int64(child.action))
            enter(hunt, 1, ANY, HIGH, HIGH)
            reply = defence(hunt)
            if reply < 0:
                frame = hunt.frames[1]
                hunt.table[entry_of(hunt.table, frame.key, frame.hand)].guessed = 0
                return 0
            if children[reply].leans != GUESS:
                continue
            games[2] = games[1]
            make_move(games[2], np.int64(children[reply].action))
            new = visit_once(visited, games[2])
            if new < 0 or waiting == len(pending):
                return -1
            if new:
                pending[waiting] = games[2]
                waiting += 1
    return 1


@njit(inline="always")
def choose_proof(hunt, frame):
    """Return the index of the check with the shortest mate that the table knows, or -1."""
    best, shortest = -1, np.int64(frame.limit)
    for i in range(frame.start, frame.start + frame.count):
        child = hunt.children[i]
        if child.state == MATES and child.length < shortest:
            best, shortest = i, np.int64(child.length)
    return best


@njit(cache=True, nogil=True)
def verify_mate(hunt, verified, limit):
    """Verify by the rules that ``hunt.games[0]`` is a mate within ``limit`` plies.

    The table says only which check to try; every reply is made. So a mistake in the table cannot
    make a false mate. ``verified`` (VERIFIED[2**k]) contains positions that are verified, and gets
    more.

    Returns:
        The length of the mate, and its first move. If the table has lost a part of the mate, the
        length is -1 and ``cursor[0]`` is the even depth at which the mate is unknown.
    """
    frames, children = hunt.frames, hunt.children
    d, found = 0, -1  # ``found``: length of the mate at depth d + 1, or -1 if it is not known
    enter(hunt, 0, limit, HIGH, HIGH)
    while True:
        frame, attacking = frames[d], d % 2 == 0
        if found >= 0:
            frame.longest = max(np.int64(frame.longest), found)
        if found >= 0 if attacking else frame.at == frame.start + frame.count - 1:
            found = np.int64(frame.longest) + 1
            if d == 0:
                return found, np.int64(children[frame.at].action)
            slot = verified[np.int64(hunt.games[d].key & np.uint64(len(verified) - 1))]
            slot.key, slot.check = hunt.games[d].key, second_key(hunt.games[d])
            slot.length = found
            d -= 1
            continue
        frame.at = choose_proof(hunt, frame) if attacking else max(frame.start, frame.at + 1)
        if frame.at < 0 or children[frame.at].state == FAILS or is_full(hunt, d):
            hunt.cursor[0] = d if attacking else d - 1
            return -1, -1
        child = children[frame.at]
        rest = np.int64(child.length) if attacking else np.int64(frame.limit) - 1
        found = 0
        if attacking and rest == 0:
            continue
        game = hunt.games[d + 1]
        hunt.games[d + 1] = hunt.games[d]
        make_move(game, np.int64(child.action))
        slot = verified[np.int64(game.key & np.uint64(len(verified) - 1))]
        found = np.int64(slot.length)
        if slot.key != game.key or found > rest or slot.check != second_key(game):
            found = -1
            d += 1
            enter(hunt, d, rest, HIGH, HIGH)


@njit(cache=True, nogil=True)
def perft(stack, masks, depth):
    """Return the number of sequences of ``depth`` legal moves from ``stack[0]``.

    ``stack`` (GAME[depth + 1]) and ``masks`` (uint64[depth + 1, 35]) are overwritten. Moves of the
    last ply are counted but not made. Repetition and declaration do not end a sequence: this is the
    usual definition of perft.
    """
    rows, _, _, _ = legal_rows(load_view(stack[0].board), stack[0])
    if depth <= 1:
        return total(rows) if depth == 1 else 1
    pack(masks, 0, rows)
    nodes, level, word = 0, 0, 0
    words = np.zeros(depth + 1, np.int64)
    while level >= 0:
        word = words[level]
        while word < MASK_WORDS and masks[level, word] == 0:
            word += 1
        words[level] = word
        if word == MASK_WORDS:
            level -= 1
            continue
        action = word * 64 + first(masks[level, word])
        masks[level, word] &= masks[level, word] - np.uint64(1)
        stack[level + 1] = stack[level]
        view = make_move(stack[level + 1], action)
        rows, _, _, _ = legal_rows(view, stack[level + 1])
        if level + 2 == depth:
            nodes += total(rows)
        else:
            level += 1
            pack(masks, level, rows)
            words[level] = 0
    return nodes
