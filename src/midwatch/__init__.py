"""Midwatch keeps long-running processes alive and can prove why each one died.

The public names are `__version__` and what `__all__` lists; everything else may change between releases.
The keeper imports this package, so this file must stay tiny: no import of anything of ours, nothing that
costs memory. Names for embedding are resolved when they are first used.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
