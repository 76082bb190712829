"""The number: the metric, fusion of boxes, the none rule, intervals, submission files. Needs no torch."""
