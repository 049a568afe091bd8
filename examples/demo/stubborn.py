"""A service that will not go: ignores SIGTERM and has a child in a session of its own that ignores it too."""

import os
import signal
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    bare = {"PATH": os.environ["PATH"]}
    helper = subprocess.Popen([sys.executable, __file__, "helper"], start_new_session=True, env=bare)
    print(f"I ignore SIGTERM, and so does my helper {helper.pid} in its own session", flush=True)
while True:
    time.sleep(60)
