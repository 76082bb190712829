"""The command line: a file per verb, with the verb's options and what it does. Heavy imports happen inside."""
