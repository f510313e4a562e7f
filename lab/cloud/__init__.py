"""A stateful Hetzner Cloud API: what was ordered. The machines themselves are made behind `lab.backend.Machines`.

How to find a line: `urls.py` says which request goes where, `endpoints.py` does HTTP, a module per collection has its
rules (no HTTP in it), `work.py` is the only one that asks the machines for something, `state.py` the only one that
writes, `admin.py` what tests may ask for.
"""
