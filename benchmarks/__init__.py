"""What users wait for, measured side by side in one run."""
