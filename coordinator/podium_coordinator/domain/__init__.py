"""Decides: pure functions and state, without I/O, clocks or randomness."""
