"""Slow growth of memory and descriptors: floors.py folds samples, detector.py judges, signs.py looks at one snapshot.

Pure: time is injected, nothing is acted upon. The engine samples, tells what is found and restarts only when asked to.
Theory, figures and the table of false alarms: docs/leaks-detector.md.
"""
