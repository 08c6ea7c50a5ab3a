"""Processes: one supervisor, N workers, the channel between them, and the health of the targets."""
