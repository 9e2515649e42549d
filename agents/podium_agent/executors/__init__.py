"""Acts: what runs a task's action."""
