"""The agent: executes attempts on a host and reports them."""
