"""The commands, one file each: options and implementation. Heavy modules are imported inside functions."""
