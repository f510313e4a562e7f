"""Services that a platform has elsewhere, as small real servers: object storage, name server, package archive,
and a sink for mail and webhooks.

They belong to the lab and to no machine: each has an address of its own beside the machines' and is a program in the
router's namespace, which machines reach through their own outbound rules and the host as its operator.
"""
