"""What differs between what is wanted and what is there: for `plan` and `drift`."""
