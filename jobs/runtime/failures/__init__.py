"""Failures that are neither bad input nor a bug: of a GPU, a node, a helper process or a disk."""
