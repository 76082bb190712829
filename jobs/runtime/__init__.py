"""What every stage stands on: store, work and its DONE, checkpoints, stopping, heartbeat, progress, logs, metrics."""
