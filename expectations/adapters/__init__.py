"""Checks by other tools. Nothing else of the platform imports this."""
