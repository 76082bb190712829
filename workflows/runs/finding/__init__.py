"""Find runs by name, on the cluster and in the store."""
