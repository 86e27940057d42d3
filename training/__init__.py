"""Captions to a better encoder."""
