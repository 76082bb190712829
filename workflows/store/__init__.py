"""The store that a command uses, and the embedded S3 server."""
