"""Networks, their input planes, and agents that choose moves with networks."""
