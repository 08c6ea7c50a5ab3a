"""Measures Equipoise beside its peers on this machine: `python -m benchmarks`."""
