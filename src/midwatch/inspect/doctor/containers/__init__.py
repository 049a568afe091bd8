"""Checks of containers: limits, nearness to them, overcommitment, the engine's VM, stacks, health (DOC-3 to 8, 20).

Each asks `common.seen`, which looks once for all of them. Tests: tests/inspect/doctor/containers, tests/real/engines.
"""
