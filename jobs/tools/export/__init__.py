"""``python -m jobs export``: a folder that predicts without a store, a network or this repository."""
