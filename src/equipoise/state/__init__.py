"""What a worker owns."""
