"""The process that must never die. Standard library only; imports nothing of ours outside this package."""
