"""The database's history, one file per step; ``python -m control.migrate`` applies what is missing."""
