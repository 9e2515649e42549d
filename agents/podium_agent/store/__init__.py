"""Remembers: the agent's journal, caches and logs."""
