"""Kill servers of a working stack at random, and judge by what is recorded whether anything was lost or done twice.

producer -> the stack (its servers killed by the killer) -> receiver;    records + history -> checker -> violations
"""
