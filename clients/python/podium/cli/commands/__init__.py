"""The commands, one module per noun: each fetches, then shows."""
