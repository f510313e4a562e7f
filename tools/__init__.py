"""What no package manager gives ready-made: the pinned Pulumi engine, its Python language host and the hcloud plugin.

Runs with a bare system python3 >= 3.11, before any virtual environment exists: standard library, `bastide.console` and
`bastide.errors` only.
"""
