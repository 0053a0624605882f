"""Proximal policy optimisation by self-play in a two-player zero-sum game."""
