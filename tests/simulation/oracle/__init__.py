"""Judges the product by the written semantics, and by what it has seen itself."""
