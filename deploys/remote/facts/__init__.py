"""Scripts that read a machine, a module a noun as in deploys/facts; only those that are asked for are sent."""
