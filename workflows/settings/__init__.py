"""YAML files and ``--set`` options, resolved into an Experiment or a Profile."""
