"""`midwatch schema`: the JSON Schema of midwatch.toml, for editors.

Must not know a key: config/ makes the schema from its table. Tests: tests/front/test_check.py.
"""

from __future__ import annotations

import json as jsonlib

from midwatch.front.cli.declare import JSON, Verb


def _run(json: bool) -> int:
    from midwatch import config

    document = config.schema()
    print(jsonlib.dumps({"schema_version": 1, "schema": document} if json else document, indent=2))
    return 0


VERB = Verb(
    name="schema",
    help="Print the JSON Schema of midwatch.toml.",
    detail=(
        "For editors and linters that complete and check TOML by a schema. "
        "With --json it is wrapped as {schema_version, schema}."
    ),
    examples=("midwatch schema > midwatch.schema.json",),
    run=_run,
    opts=(JSON,),
)
