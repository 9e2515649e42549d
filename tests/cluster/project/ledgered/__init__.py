"""Workflows whose tasks keep a ledger of what they do, outside the platform."""
