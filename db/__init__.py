"""What PostgreSQL does: the schema, the connection, the queries the program runs."""
