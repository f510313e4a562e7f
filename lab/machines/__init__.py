"""The machines of a lab: their disks, wires, power and names. Implements `lab.backend.Machines`."""
