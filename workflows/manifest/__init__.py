"""What was ordered (:class:`~workflows.manifest.spec.RunSpec`) and the Argo workflow that is built from it."""
