"""The example does what its configuration says: migrate ends with 0, web gets ready, all leave on TERM."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from midwatch.config.loading import load
from midwatch.config.problems import Loaded
from midwatch.model.service import ServiceSpec

FILE = Path(__file__).parents[2] / "examples" / "midwatch.toml"


@contextmanager
def started(spec: ServiceSpec, more: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The service as its launch says, ended with TERM."""
    environ = spec.launch.env | more
    process = subprocess.Popen(spec.launch.argv, cwd=spec.launch.cwd, env=environ, stdout=subprocess.PIPE)
    try:
        yield process
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def example() -> Loaded:
    return load(FILE, environ=dict(os.environ))


def test_the_example_runs(tmp_path: Path, free_port: int) -> None:
    """Each of the three kinds of service, with the environment that the configuration makes."""
    specs = {spec.name: spec for spec in example().specs}
    more = {"SHOP_DB": str(tmp_path / "shop.db"), "PORT": str(free_port)}
    migrate = specs["migrate"].launch
    subprocess.run(migrate.argv, cwd=migrate.cwd, env=migrate.env | more, check=True, timeout=30)
    with started(specs["worker-2"], more) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == b"worker 2: one more round\n"
    with started(specs["web"], more) as web:
        assert web.stdout
        assert web.stdout.readline() == b"listening on %d\n" % free_port
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/health", timeout=10) as answer:
            assert answer.status == 200


def test_the_example_waits_in_the_right_order() -> None:
    """migrate, then web, then both workers."""
    needs = {spec.name: spec.rules.needs for spec in example().specs}
    assert needs["migrate"] == {}
    assert needs["web"] == {"shop/migrate": "completed"}
    assert needs["worker-1"] == needs["worker-2"] == {"shop/migrate": "completed", "shop/web": "ready"}
