"""What runs cost: the hours and the money spent, and a forecast from them."""
