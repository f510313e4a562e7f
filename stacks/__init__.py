"""The stack files, and what the provider makes of them: one Pulumi component a file.

This folder holds Python and YAML: Pulumi finds `Pulumi.<stack>.yaml` here, because Pulumi.yaml says
`stackConfigDir: stacks`.
"""
