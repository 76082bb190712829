"""What the control side and the work side agree on. Light to import: nothing here is heavier than pydantic."""
