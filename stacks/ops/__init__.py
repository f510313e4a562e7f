"""What an operator runs beside `pulumi up`: begin a stack, recover from a stopped run, the local cloud, the state."""
