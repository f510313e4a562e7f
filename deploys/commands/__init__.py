"""What an operator runs beside the deploy: `pyinfra hosts/inventory.py deploys/commands/NAME.py`."""
