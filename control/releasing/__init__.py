"""Which process starts next, and what keeps the others."""
