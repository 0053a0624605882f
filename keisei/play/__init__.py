"""Playing: players, the device they compute on, matches and whole evaluations."""
