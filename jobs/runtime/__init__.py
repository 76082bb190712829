"""What every stage uses: store, works, checkpoints, stopping; heartbeat, progress, logs and metrics in telemetry."""
