"""One action at many entities of a version: what is asked for, and how it becomes processes."""
