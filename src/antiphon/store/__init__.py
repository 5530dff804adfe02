"""Where journals, items and responses are kept."""
