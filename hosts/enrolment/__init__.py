"""The first contact with a machine: how its host key comes to be known, and how the automation account gets in."""
