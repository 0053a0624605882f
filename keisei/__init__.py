"""Keisei trains a shogi agent by PPO self-play inside one asyncio application."""
