"""What makes a machine what the settings say: a module a capability, called by `site.py`."""
