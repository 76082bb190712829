"""One row per task, and how the rows are drawn on a terminal and as plain lines."""
