"""What no package manager gives ready-made: the pinned Pulumi engine, its plugins, the lab's MinIO.

Runs with a bare system python3 >= 3.11, before any virtual environment exists: standard library, `bastide.console` and
`bastide.errors` only.
"""
