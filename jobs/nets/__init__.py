"""Nets: the classifier and its heads, the YOLO trainer, optimisers, weights."""
