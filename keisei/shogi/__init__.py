"""The rules of shogi."""
