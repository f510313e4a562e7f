"""What needs somebody's attention, told to people."""
