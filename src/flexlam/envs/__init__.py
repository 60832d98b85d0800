"""Environments to record from and act in: a suite a file."""
