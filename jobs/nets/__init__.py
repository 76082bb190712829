"""Nets: the classifier, YOLO, and what both use: precision, compilation, weights."""
