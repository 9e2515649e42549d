"""Senses: the host."""
