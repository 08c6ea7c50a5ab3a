"""A long run of everything at once: `python -m benchmarks.soak`; docs/how-to/soak.md says what it asks for."""
