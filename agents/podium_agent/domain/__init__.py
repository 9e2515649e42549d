"""Decides: the life of an attempt at the agent, and local admission."""
