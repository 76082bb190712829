"""What stands between this command line and a cluster: Argo's server, or Kubernetes itself."""
