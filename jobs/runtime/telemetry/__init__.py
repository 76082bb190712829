"""What a running stage reports: progress, heartbeat, logs, metrics, trackers."""
