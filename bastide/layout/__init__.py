"""What is where on a machine: ports, paths, units, accounts. Deploys make it so, and checks look there.

A module a capability, named by its word, with nothing but names and numbers. Neither side takes them from the other: a
check that asked the deploy where to look would see what the deploy believes.
"""
