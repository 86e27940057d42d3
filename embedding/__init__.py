"""Pictures and words to unit vectors; knows nothing of databases or HTTP."""
