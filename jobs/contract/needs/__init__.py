"""What an experiment needs from the store: pretrained weights, teachers, splits."""
