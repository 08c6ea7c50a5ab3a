"""Fuzzing: bytes that nobody thought of, against every reader of bytes that strangers send."""
