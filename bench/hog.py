"""The runaway of the guards' measure: how much it holds stands in a file of its own, which outlives its SIGKILL.

    hog STAMPS grow RATE MOST CALM     hold 32 MiB for CALM s, then RATE MiB a second up to MOST MiB
    hog STAMPS map MIB                 write a file of so many MiB, map it, read every page of it
"""

import ctypes
import mmap
import os
import struct
import sys
import time

STEP, START = 4, 32


def grow(file: str, rate: float, most: float, calm: float) -> None:
    """Touch memory; count it before and after."""
    count = mmap.mmap(os.open(f"{file}.{os.getpid()}", os.O_RDWR), 8)
    held, kept = 0, []

    def take(size: int) -> None:
        nonlocal held
        area = mmap.mmap(-1, size << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(area)), 1, size << 20)
        kept.append(area)
        held += size
        struct.pack_into("<q", count, 0, held)

    take(START)
    time.sleep(calm)
    began = time.monotonic()
    while held < most:
        take(STEP)
        time.sleep(max(0.0, (held - START) / rate - (time.monotonic() - began)))


def read(file: str, size: int) -> None:
    """File pages, not memory of its own."""
    name = f"{file}.big"
    if not os.path.exists(name):
        with open(name + ".new", "wb") as big:
            big.writelines(b"x" * (1 << 20) for _ in range(size))
        os.rename(name + ".new", name)
    with open(name, "rb") as big:
        area = mmap.mmap(big.fileno(), 0, prot=mmap.PROT_READ)
        sum(area[at] for at in range(0, len(area), 4096))
        time.sleep(600)


def main() -> None:
    """Stamp the start, then do as told."""
    file, mode, *words = sys.argv[1:]
    with open(f"{file}.{os.getpid()}", "wb") as own:
        own.write(bytes(8))
    stamps = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(stamps, f"S {os.getpid()} {time.monotonic_ns()}\n".encode())
    if mode == "grow":
        grow(file, *(float(word) for word in words))
    else:
        read(file, int(words[0]))
    time.sleep(600)


main()
