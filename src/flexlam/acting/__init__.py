"""Agents and recordings: everything that steps an environment."""
