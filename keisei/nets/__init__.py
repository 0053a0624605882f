"""Networks, the planes they look at, and agents that answer with them."""
