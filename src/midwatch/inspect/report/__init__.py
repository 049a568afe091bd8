"""One bundle that can be shared: what happened, with everything taken out that says who and where, and every secret.

`scrub` takes things out, `known` finds out what this machine's names and secrets are, `bundle` puts the parts together
within bounds. Must not gather facts about a service: the front end does. Tests: tests/inspect/report.
"""
