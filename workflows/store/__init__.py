"""Which store a command works with, and the embedded S3 server."""
