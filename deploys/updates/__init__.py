"""Upgrades and reboots."""
