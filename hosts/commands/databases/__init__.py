"""Databases out of the cluster and into it: what a dump holds, and the far end that dumps and restores."""
