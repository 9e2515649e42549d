"""podium-bench: measures Podium on this machine. `python -m benchmarks --help` tells how."""

from benchmarks.cli import main

if __name__ == "__main__":
    main()
