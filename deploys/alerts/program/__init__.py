"""Runs on the machines: finds what is wrong, reads what the others found, and tells people of it.

Installed as it stands here, so standard library only; `watch.py` is where to begin reading.
"""
