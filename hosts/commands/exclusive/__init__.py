"""Nobody else works on the machines meanwhile, and what ends a program does not leave half of it."""
