"""What a service whose table holds only a command gets. Must not be read from the code that builds it."""

from __future__ import annotations

from midwatch.model.service import Logs, Rules
from midwatch.policy import defaults as d


def default_logs() -> Logs:
    return Logs(file_bytes=d.LOG_FILE_BYTES, files=d.LOG_FILES, compress=d.LOG_COMPRESS)


def default_rules() -> Rules:
    return Rules(d.default_budgets(), d.default_backoff(), d.default_stop(), permanent_codes=d.PERMANENT_CODES)
