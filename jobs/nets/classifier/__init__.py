"""The classifier: a timm backbone with heads, its losses, optimisers, predictions and heat maps."""
