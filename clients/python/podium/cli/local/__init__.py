"""A small cluster on this machine: a coordinator and agents as child processes of `podium up`."""
