"""The work side of cxrfold: what runs in pods, one folder a stage."""
