"""Keeps blobs: immutable bytes named by their SHA-256, in a folder or an object store, with rows that say which."""
