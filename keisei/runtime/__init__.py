"""A run: its device thread, event loop tasks, checkpoints and evaluations."""
