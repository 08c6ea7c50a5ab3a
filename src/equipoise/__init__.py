"""Equipoise, an HTTP load balancer that keeps the requests in flight equal over its targets."""

__version__ = "0.1.0"
