"""Lets `python -m podium.cli` do what `podium` does."""

from podium.cli import main

main()
