"""Alembic migrations of the schema image_retrieval."""
