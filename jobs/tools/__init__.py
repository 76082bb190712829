"""The small commands beside the stages: score, compare, audit, weights, phantom."""
