"""A local cloud on one Linux machine: a stateful Hetzner Cloud API whose servers are real Debian 13 machines.

Knows nothing of the platform that is built on it.
"""
