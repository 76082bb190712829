"""The contract between ``workflows`` and ``jobs``. Light to import: it needs nothing but pydantic."""
