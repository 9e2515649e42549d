"""Speaks: the session with the coordinator."""
