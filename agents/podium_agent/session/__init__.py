"""Acts: the session process, between the coordinator and the workers."""
