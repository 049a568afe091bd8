"""Where container engines may be reached: what the person named, else the current context and the usual sockets.

Named are DOCKER_HOST, CONTAINER_HOST and DOCKER_CONTEXT; then only those are asked. An engine on another machine is not
this machine's business and is left out with words. Must not connect. Tests: tests/inspect/containers/test_endpoints.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from typing import Any

from midwatch.inspect.containers.parse import decode

_NEAR = ("127.0.0.1", "localhost", "[::1]")
_CONFIG_BYTES = 1 << 20


def find(environ: Mapping[str, str], home: str, uid: int) -> tuple[list[str], list[str]]:
    """Addresses, the likeliest first, and in words what was left out."""
    named = [environ[name] for name in ("DOCKER_HOST", "CONTAINER_HOST") if environ.get(name)]
    config = environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    if not environ.get("DOCKER_HOST"):
        context = environ.get("DOCKER_CONTEXT") or _current(config)
        host = _context(config, context) if context and context != "default" else ""
        if environ.get("DOCKER_CONTEXT"):
            named += [host] if host else []
        elif host and not named:
            return _near([host, *_usual(environ, home, uid)])
    return _near(named or _usual(environ, home, uid))


def socket_of(address: str) -> str:
    """The path of a Unix socket, "" for anything else."""
    return address.removeprefix("unix://") if address.startswith("unix://") else ""


def _usual(environ: Mapping[str, str], home: str, uid: int) -> list[str]:
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    paths = [
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",  # rootless docker
        f"{home}/.docker/run/docker.sock",  # Docker Desktop
        f"{home}/.docker/desktop/docker.sock",
        f"{home}/.orbstack/run/docker.sock",
        f"{home}/.colima/default/docker.sock",
        f"{home}/.rd/docker.sock",
        f"{home}/.lima/default/sock/docker.sock",
        "/run/podman/podman.sock",
        f"{runtime}/podman/podman.sock",  # rootless podman
        f"{home}/.local/share/containers/podman/machine/podman.sock",
        f"{home}/.local/share/containers/podman/machine/qemu/podman.sock",
    ]
    return [f"unix://{path}" for path in paths if _is_socket(path)]


def _near(addresses: list[str]) -> tuple[list[str], list[str]]:
    """Without doubles (a socket under two names) and without other machines."""
    found: dict[str, str] = {}
    missing = []
    for address in addresses:
        path = socket_of(address)
        if path:
            found.setdefault(os.path.realpath(path), address)
        elif address.startswith(("tcp://", "http://")) and address.partition("://")[2].startswith(_NEAR):
            found.setdefault(address, address)
        else:
            missing.append(
                f"{_safe(address)}: on another machine or reached by other means; look at it there"
            )
    return list(found.values()), missing


def _safe(address: str) -> str:
    from midwatch.record.redact import redact

    return redact(address)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _current(config: str) -> str:
    found = _read(f"{config}/config.json").get("currentContext")
    return found if isinstance(found, str) else ""


def _context(config: str, name: str) -> str:
    """The address of a context; its folder is named by the digest of its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta: Any = _read(f"{config}/contexts/meta/{digest}/meta.json")
    for key in ("Endpoints", "docker", "Host"):
        meta = meta.get(key) if isinstance(meta, dict) else None
    return meta if isinstance(meta, str) else ""


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = decode(file.read(_CONFIG_BYTES))
    except OSError:
        return {}
    return found if isinstance(found, dict) else {}
