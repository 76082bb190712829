"""The specification of a run (:class:`~workflows.manifest.spec.RunSpec`) and the Argo workflow built from it."""
