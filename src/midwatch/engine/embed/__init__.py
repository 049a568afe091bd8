"""`midwatch.Supervisor`: the same engine inside another program. Public names: midwatch/__init__.py."""
