"""The seam to models."""
