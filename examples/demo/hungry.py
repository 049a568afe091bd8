"""A service that takes memory: MiB a second, up to a most. SIGUSR1 asks it to finish and leave with code 12."""

import mmap
import os
import signal
import sys
import time

rate, most = float(sys.argv[1]), float(sys.argv[2])
signal.signal(signal.SIGUSR1, lambda *_: (print("asked to drain: done", flush=True), os._exit(12)))
print(f"taking {rate:g} MiB a second", flush=True)
kept, held, began = [], 0, time.monotonic()
while held < most:
    area = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(b"x" * len(area))
    kept.append(area)
    held += 2
    time.sleep(max(0.0, held / rate - (time.monotonic() - began)))
while True:
    time.sleep(60)
