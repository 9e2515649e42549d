"""Acts: the shard loop and the use cases."""
