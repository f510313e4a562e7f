"""The core of Bastide: what is wanted, what exists, what was proven.

Nothing in this package talks to a provider or to a machine; the other rooms import it, never the other way round.
"""
