"""The version of every part of Podium."""

__version__ = "0.1.0"
