"""The database cluster: PostgreSQL under Patroni, and how clients are routed to it."""
