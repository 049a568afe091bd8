"""`python -m bench` from the repository root: the same as `python bench/run.py`.

It decides nothing; the options and the order of the measurements live in bench/run.py.
"""

from bench.run import main

if __name__ == "__main__":
    raise SystemExit(main())
