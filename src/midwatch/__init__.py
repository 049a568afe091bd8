"""Midwatch keeps long-running processes alive and can prove why each one died.

The public names are `__version__` and what `__all__` lists; everything else may change between releases.
The keeper imports this package, so this file must stay tiny: no import of anything of ours, nothing that
costs memory. Names for embedding are resolved when they are first used.
"""

__version__ = "0.2.0"

__all__ = [
    "AlreadyRunning", "AsyncSupervisor", "ConfigError", "Settled", "Supervisor", "SupervisorError", "UnknownService",
    "__version__",
]  # fmt: skip

TYPE_CHECKING = False  # importing typing for real costs the keeper 0.3 MB
if TYPE_CHECKING:
    from midwatch.config.problems import ConfigError
    from midwatch.engine.embed.asking import Settled
    from midwatch.engine.embed.errors import AlreadyRunning, SupervisorError, UnknownService
    from midwatch.engine.embed.supervisor import AsyncSupervisor, Supervisor

_HOMES = {
    "Supervisor": "engine.embed.supervisor", "AsyncSupervisor": "engine.embed.supervisor",
    "Settled": "engine.embed.asking", "AlreadyRunning": "engine.embed.errors", "SupervisorError": "engine.embed.errors",
    "UnknownService": "engine.embed.errors", "ConfigError": "config.problems",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"midwatch.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
