"""Training by other tools: the same stages, the same end. Nothing else of the platform imports this."""
