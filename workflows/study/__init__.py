"""The study log: run or collect several experiments and write their results as a table, a page and CSV."""
