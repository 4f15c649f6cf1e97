"""Step 12: the end of a process is told to its requester."""
