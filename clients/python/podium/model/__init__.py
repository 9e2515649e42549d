"""The workflow model: what a workflow is, and when a definition of one is sound. Pure: no I/O, no clock."""
