"""What the control side and the work side agree on. Light to import: pydantic and PyYAML are the heaviest things here."""
