"""The configuration as data: the file's shape, its reading, and what changes between two states of the balancer."""
