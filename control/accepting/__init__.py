"""Step 1: a request becomes a process, or is refused with a reason."""
