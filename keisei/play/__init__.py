"""Who plays whom: players, the device they play on, matches and whole evaluations."""
