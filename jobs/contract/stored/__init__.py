"""What lies in the store: its keys, its records, and the hashes that name them."""
