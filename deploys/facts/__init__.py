"""What a machine is asked, by noun as the operations: a fact each, its request and its answer typed."""
