"""Rules that find mistakes in a manifest, an experiment or a profile before anything is submitted."""
