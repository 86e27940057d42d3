"""Somebody asks and leaves before the answer is there: the work ends, and nothing is held."""
