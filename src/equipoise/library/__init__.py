"""Equipoise inside other programs and tests: `from equipoise import Balancer`."""
