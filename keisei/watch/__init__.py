"""Watches runs from their files alone, which other processes write.

Nothing here writes a file or takes a lock.
"""
