"""Mistakes in a manifest, an experiment or a profile, found before anything is submitted."""
