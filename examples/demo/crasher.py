"""A service that works for a moment and then fails the way programs do."""

import time

print("connecting to the database ...", flush=True)
time.sleep(0.2)
raise ConnectionError("database 'orders' is not there")
