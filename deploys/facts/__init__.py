"""What is read from the machines: few facts, many answers."""
