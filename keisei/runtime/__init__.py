"""A run: its device thread, its tasks on the event loop, its checkpoints and evaluations."""
