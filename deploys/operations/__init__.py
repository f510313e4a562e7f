"""Operations of the project's own. Each is idempotent, and a run that was killed in it is completed by the next."""
