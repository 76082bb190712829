"""Assignment of films to folds: patients, near-duplicates, folds, and an audit of leakage."""
