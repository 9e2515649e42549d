"""Keeps attempts' logs: in a folder while they grow, as blobs afterwards."""
