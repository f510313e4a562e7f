"""What `python -m hosts` can do."""
