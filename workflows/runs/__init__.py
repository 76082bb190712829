"""What a run is, wherever it is: stored, live on a cluster; its rows and its log lines."""
