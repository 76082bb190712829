"""The local engine: executes the very workflow that a cluster would get, with a process in place of a pod."""
