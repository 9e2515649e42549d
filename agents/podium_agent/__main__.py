"""`python -m podium_agent`."""

from podium_agent.main import main

main()
