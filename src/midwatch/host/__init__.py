"""Whoever runs Midwatch itself: systemd, launchd, supervisord, a container; who it is, what it wants to hear."""
