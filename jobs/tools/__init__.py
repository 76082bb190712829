"""Commands that are not stages: score, compare, audit, weights, phantom."""
