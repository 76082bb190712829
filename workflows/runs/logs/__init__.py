"""Log lines of a run: read from pods and from the store, parsed and filtered."""
