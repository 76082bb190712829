"""The local engine: executes the workflow that a cluster would get, with processes in place of pods."""
