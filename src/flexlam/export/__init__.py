"""Codes and models for other tools."""
