"""The files of outer managers: a systemd unit, a launchd job, a supervisord section, a cron watchdog.

Text out of facts: nothing here starts, asks or writes anything. Must not know the command line.
Tests: tests/host/units.
"""
