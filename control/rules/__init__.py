"""Decisions only: a row and what was said go in, what follows comes out. No statement, no clock, no call.

The modules beside this folder read and write; ``docs/model.md`` says how these decisions are tried in every order.
"""
