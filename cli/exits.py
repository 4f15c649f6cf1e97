"""What a command leaves the shell with: 0 done, or one of these. A script goes by them, so none ever changes."""

FAILED = 1
"""It was done and the answer is no: a check failed, a process ended otherwise, a server is down, somebody said no."""
USAGE = 2
"""It was asked for wrongly; Typer's own code for that."""
CONFIG = 3
"""A setting is missing or refused, or what the command needs is not installed here."""
REFUSED = 4
"""What was asked for is not done, and would be refused again."""
FOUND = 4
"""It is done, and something was found that a person or a script must look at."""
REMOTE = 5
"""The API, the database or the lake cannot be reached, or is at fault: say it again."""
LATE = 6
"""What was waited for has not ended in time."""
