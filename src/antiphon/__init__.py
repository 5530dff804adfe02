"""Antiphon: an agent server and library that speaks the OpenAI APIs over any model; every run is a journal."""

__version__ = "0.1.0"
