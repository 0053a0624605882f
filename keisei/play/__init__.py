"""Playing: players, their device, matches and whole evaluations."""
