"""Responses requests and items become chat requests, and names find their way back. Pure."""
