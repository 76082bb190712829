"""Requests to S3 as the store sends them: which errors may pass, and how long a request is repeated."""
