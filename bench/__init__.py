"""Midwatch beside its peers and the physical limit, measured on one machine in one run.

`bench/run.py` is the entry. It must not import midwatch: every product is used the way its users start it,
from outside. Standard library only, so that it runs before anything is installed.
"""
