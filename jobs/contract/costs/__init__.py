"""What runs cost, counted alike by the report, the limit of GPU hours and ``cv.py cost``."""
