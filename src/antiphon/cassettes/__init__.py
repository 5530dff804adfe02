"""Recordings: their format, what reads foreign ones, what writes and what replays them."""
