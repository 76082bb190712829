"""Which fold a film belongs to: patients, near-duplicates, folds, and what a split would leak."""
