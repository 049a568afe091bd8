"""The session store: every conversation of an agent in one SQLite file, bounded in memory whatever it holds.

Items are only appended; long bodies lie out of row and are read a stretch at a time; a context is a stream. The
public names are in `midwatch.sessions`. Must not know a provider, a network, or who runs the agent.
"""
