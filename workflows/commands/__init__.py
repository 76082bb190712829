"""The commands that look at and steer runs on a cluster: a module each, a plain function in it."""
