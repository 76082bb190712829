"""The study log: several experiments run or collected, written down as one table, a page and a file for programs."""
