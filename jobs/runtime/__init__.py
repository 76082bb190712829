"""What every stage stands on: object store, work and its DONE, checkpoints, stopping, heartbeat, progress, logs, metrics."""
