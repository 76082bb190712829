"""Synthetic chest films in the competition's layout."""
