"""The state of a run's tasks, from Argo's nodes and from what the tasks stored. Pure functions."""
