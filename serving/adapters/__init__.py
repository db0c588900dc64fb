"""Releases served by other servers. Nothing else of the platform imports this."""
