"""HTTP clients of Argo's server and of Kubernetes."""
