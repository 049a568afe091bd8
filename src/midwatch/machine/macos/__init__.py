"""macOS behind `machine/ports.py`: libproc, sysctl and kqueue.

Written against Apple's published headers (sys/proc_info.h, sys/resource.h, sys/event.h) and tested on recorded
layouts; it has not run on a Mac. `adapter.MacMachine` is the only name other layers use.
"""
