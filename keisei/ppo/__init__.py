"""Learns by proximal policy optimisation from self-play in a two-player zero-sum game."""
