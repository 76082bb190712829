"""What a running stage reports: heartbeat, progress, logs, metrics, trackers."""
