"""Speaks: gRPC."""
