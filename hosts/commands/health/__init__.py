"""How the machines of a stack are: for `status`, and for `rekey`, which waits until all are deployed."""
