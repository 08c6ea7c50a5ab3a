"""The control plane's face: HTTP for operators, their tools and their browsers."""
