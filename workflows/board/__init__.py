"""The board: one row per task, drawn on a terminal or printed as plain lines."""
