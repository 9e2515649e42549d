"""Turns what the coordinator answers into text and JSON: pure functions, no fetching."""
